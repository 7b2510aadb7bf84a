package porttest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// recorder is a test that remembers how it was ended instead of ending.
type recorder struct {
	testing.TB
	skipped, failed string
	cleanups        []func()
}

func (r *recorder) Helper()                           {}
func (r *recorder) Skipf(format string, args ...any)  { r.skipped = fmt.Sprintf(format, args...) }
func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Failed() bool                      { return r.failed != "" }
func (r *recorder) Logf(string, ...any)               {}
func (r *recorder) Errorf(format string, args ...any) { r.failed += fmt.Sprintf(format, args...) }
func (r *recorder) Fatal(args ...any)                 { r.failed += fmt.Sprint(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed += fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// record runs f as a test of its own, with its clean-up, and returns what it
// failed with.
func record(f func(t testing.TB)) *recorder {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		r.cleanups[i]()
	}
	return r
}

func TestRequire(t *testing.T) {
	reason := errors.New("no tun")
	tests := []struct {
		name          string
		reason        error
		promised      bool
		skips, failed bool
	}{
		{"able", nil, false, false, false},
		{"able where promised", nil, true, false, false},
		{"unable", reason, false, true, false},
		{"unable where promised", reason, true, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := record(func(t testing.TB) { require(t, tt.reason, tt.promised) })
			if got := r.skipped != ""; got != tt.skips {
				t.Errorf("skipped: %v, want %v", got, tt.skips)
			}
			if got := r.failed != ""; got != tt.failed {
				t.Errorf("failed: %v, want %v", got, tt.failed)
			}
			if text := r.skipped + r.failed; tt.reason != nil && !strings.Contains(text, "no tun") {
				t.Errorf("%q does not give the reason", text)
			}
		})
	}
}

func TestPromised(t *testing.T) {
	tests := []struct {
		key, value string
		want       bool
	}{
		{"CI", "true", true},
		{"CI", "false", false},
		{"WEFT_TEST_REQUIRE", "1", true},
		{"WEFT_TEST_REQUIRE", "0", false},
		{"HOME", "true", false},
	}
	for _, tt := range tests {
		getenv := func(key string) string {
			if key == tt.key {
				return tt.value
			}
			return ""
		}
		if got := promised(getenv); got != tt.want {
			t.Errorf("%s=%s: promised %v, want %v", tt.key, tt.value, got, tt.want)
		}
	}
}
