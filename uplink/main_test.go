package uplink

import (
	"testing"

	"github.com/weft/weft/ports/porttest"
)

func TestMain(m *testing.M) { porttest.CheckLeaks(m) }
