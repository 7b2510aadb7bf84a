package daemon

import (
	"testing"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
)

// Two wefts on a machine, which have two sockets, do not share a lease file
// unless both name one.
func TestLeasePath(t *testing.T) {
	for _, c := range []struct{ socket, file, want string }{
		{api.DefaultSocket, config.DefaultLeaseFile, config.DefaultLeaseFile},
		{"/run/lab.sock", config.DefaultLeaseFile, "/run/lab.leases.db"},
		{"/run/lab", config.DefaultLeaseFile, "/run/lab.leases.db"},
		{"/run/lab.sock", "/srv/lab.db", "/srv/lab.db"},
		{api.DefaultSocket, "/srv/lab.db", "/srv/lab.db"},
	} {
		d := &Daemon{opts: Options{Socket: c.socket}}
		if got := d.leasePath(&config.Config{LeaseFile: c.file}); got != c.want {
			t.Errorf("socket %s, lease_file %s: %s, want %s", c.socket, c.file, got, c.want)
		}
	}
}
