package daemon

import (
	"slices"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
)

// Neighbors implements api.Backend.
func (d *Daemon) Neighbors(name string) ([]api.Neighbor, error) {
	cfg := d.config()
	list := []api.Neighbor{}
	if outside := d.uplinkNetwork(name); name != "" && cfg.Network(name) == nil && outside != nil {
		return append(list, describeNeighbors(name, outside.Neighbors())...), nil
	}
	if err := checkNetwork(cfg, name); err != nil {
		return nil, err
	}
	for _, n := range cfg.Networks {
		if name == "" || n.Name == name {
			list = append(list, describeNeighbors(n.Name, d.neighborsOf(n.Name))...)
		}
	}
	if name != "" {
		return list, nil
	}
	for _, u := range d.Uplinks() {
		if outside := d.uplinkNetwork(u.Interface); outside != nil && u.Kind != api.UplinkSockets {
			list = append(list, describeNeighbors(u.Interface, outside.Neighbors())...)
		}
	}
	return list, nil
}

// neighborsOf returns the hosts that a network's gateway knows.
func (d *Daemon) neighborsOf(network string) []dataplane.Neighbor {
	if n := d.sw.Network(network); n != nil {
		return n.Neighbors()
	}
	return nil
}

func describeNeighbors(network string, all []dataplane.Neighbor) []api.Neighbor {
	slices.SortFunc(all, func(a, b dataplane.Neighbor) int { return a.Address.Compare(b.Address) })
	list := make([]api.Neighbor, len(all))
	for i, n := range all {
		list[i] = api.Neighbor{Network: network, Address: n.Address.String(), State: api.NeighborIncomplete}
		if n.MAC != (frame.MAC{}) {
			list[i].MAC, list[i].State = n.MAC.String(), api.NeighborReachable
		}
	}
	return list
}
