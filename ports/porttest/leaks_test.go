package porttest

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestLeakedFiles(t *testing.T) {
	before := map[string]string{"0": "/dev/null", "3": "anon_inode:[eventpoll]", "4": "pipe:[1]"}
	tests := []struct {
		name  string
		after map[string]string
		want  string
	}{
		{"same", before, ""},
		{"fewer", map[string]string{"0": "/dev/null"}, ""},
		{"more", map[string]string{"0": "/dev/null", "9": "/dev/net/tun"}, "9 -> /dev/net/tun"},
		{"another in its place", map[string]string{"4": "socket:[2]"}, "4 -> socket:[2]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := leakedFiles(before, tt.after)
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestLeaksFindsAFile(t *testing.T) {
	warmUp()
	before := openFiles()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	current := goleak.IgnoreCurrent()
	if found := leaks(before, 0, current); len(found) != 1 || !strings.Contains(found[0].Error(), "pipe:") {
		t.Errorf("two open ends of a pipe: %v", found)
	}
	// A file that closes while we wait is no leak.
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		time.Sleep(50 * time.Millisecond)
		r.Close()
		w.Close()
	}()
	if found := leaks(before, 10*time.Second, goleak.IgnoreCurrent()); len(found) != 0 {
		t.Errorf("closed in time: %v", found)
	}
	<-closed
}

func TestLeaksFindsAGoroutine(t *testing.T) {
	before, current := openFiles(), goleak.IgnoreCurrent()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		<-stop
	}()
	if found := leaks(before, 0, current); len(found) != 1 {
		t.Errorf("a goroutine that waits: %v", found)
	}
	close(stop)
	<-stopped
	if found := leaks(before, time.Second, current); len(found) != 0 {
		t.Errorf("after its end: %v", found)
	}
}
