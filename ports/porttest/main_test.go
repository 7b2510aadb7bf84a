package porttest

import "testing"

func TestMain(m *testing.M) { CheckLeaks(m) }
