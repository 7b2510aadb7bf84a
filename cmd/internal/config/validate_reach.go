package config

import (
	"maps"
	"slices"
)

// reach checks which networks reach each other.
func (r *report) reach(c *Config) {
	known := map[string]*Network{}
	for i := range c.Networks {
		known[c.Networks[i].Name] = &c.Networks[i]
	}
	for i := range c.Networks {
		n := &c.Networks[i]
		at := place{network: n.Name, key: "reach"}
		if !n.Forwards() || len(n.Reach) == 0 {
			continue
		}
		if len(n.Reach) > maxReach {
			r.refuse(at, "has %d names: at most %d are possible", len(n.Reach), maxReach)
			continue
		}
		seen := map[string]bool{}
		for j, name := range n.Reach {
			in := r.item(at, j, len(n.Reach))
			if seen[name] {
				r.refuse(in, "%s is there already: write it once", quoted(name))
			} else if name != ReachHost {
				r.reaches(in, known, n, name)
			}
			seen[name] = true
		}
	}
}

// reaches checks that a network reaches the one of that name, and that one it.
func (r *report) reaches(at place, known map[string]*Network, n *Network, name string) {
	o := known[name]
	switch {
	case name == n.Name:
		r.refuse(at, "%s is the network itself: remove it", quoted(name))
	case n.Name == ReachHost:
		r.refuse(at, "a network of the name %q cannot be reached, as that is this host: give it another name", ReachHost)
	case o == nil:
		r.refuse(at, "there is no network %s%s", quoted(name), nearNetwork(name, n, known))
	case !o.Forwards():
		r.refuse(at, "network %s has forward: %s, where all ends: write nat or route there, or remove this", quoted(name), o.Forward)
	case !slices.Contains(o.Reach, n.Name):
		r.refuse(at, "network %s does not have %s in its own reach: write it there too, in the file", quoted(name), quoted(n.Name))
	}
}

func nearNetwork(name string, n *Network, networks map[string]*Network) string {
	const most = 64 // of which one is looked for: a hostile file has thousands of both
	known := []string{ReachHost}
	if len(networks) <= most {
		known = slices.AppendSeq(known, maps.Keys(networks))
		known = slices.DeleteFunc(known, func(other string) bool { return other == n.Name })
		slices.Sort(known) // of two that are as near, always the same
	}
	if near := nearest(name, known); near != "" {
		return "; did you mean " + quoted(near) + "?"
	}
	return ": add it, or name another one, or " + ReachHost
}
