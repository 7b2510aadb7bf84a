package dhcp

import (
	"errors"
	"io/fs"
	"log/slog"
	"time"
)

// hostsFile is the reservations of Config.HostsFile as they were read last.
type hostsFile struct {
	path    string
	stamp   hostsStamp
	hosts   []Host
	lines   []int         // that they stand in
	problem string        // of the last reading, which is told of once
	looked  time.Duration // when, by the monotonic clock
}

// load reads the file. Where it can not be read, what it said before goes on to
// hold, unless it is gone.
func (f *hostsFile) load(path string, log *slog.Logger) {
	f.path = path
	if path == "" {
		return
	}
	hosts, lines, stamp, problems, err := readHosts(path)
	f.stamp = stamp
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			f.hosts, f.lines = nil, nil
		}
		if f.problem != err.Error() {
			log.Warn("dhcp: the hosts file is not read", "error", err)
		}
		f.problem = err.Error()
		return
	}
	f.hosts, f.lines, f.problem = hosts, lines, ""
	for _, p := range problems {
		log.Warn("dhcp: a line of the hosts file is left out", "error", p)
	}
}

// rereadHosts looks after the hosts file, as often as hostsEvery. The caller
// holds work.
func (s *Server) rereadHosts() {
	now := s.read()
	f := &s.hosts
	if f.path == "" || now.Mono-f.looked < hostsEvery {
		return
	}
	f.looked = now.Mono
	if stampHosts(f.path) == f.stamp {
		return
	}
	f.load(f.path, s.log)
	if set, err := s.settings(s.engine.set.Config); err == nil {
		s.configure(set)
	}
}
