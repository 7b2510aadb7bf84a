package apitest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
)

// settings are keys of the configuration file as a patch brings them: strings,
// numbers, lists and maps of the same.
type settings = map[string]any

// SetNetwork implements api.Backend. It knows the keys of networkKeys.
func (b *Backend) SetNetwork(name string, patch []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(name)
	if err != nil {
		return err
	}
	next, err := merged(n.settings, patch)
	if err == nil {
		err = set(new(api.Network), next, networkKeys())
	}
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: %w", name, err))
	}
	n.settings = next
	return nil
}

// SetPort implements api.Backend. It knows the keys of portKeys.
func (b *Backend) SetPort(networkName, name string, patch []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	p, ok := n.ports[name]
	if !ok {
		return noPort(networkName, name)
	}
	if p, err = n.patchPort(p, patch); err == nil {
		n.ports[name] = p
	}
	return err
}

// patchPort returns p as a patch makes it, and keeps the settings for the next.
func (n *network) patchPort(p api.Port, patch []byte) (api.Port, error) {
	next, err := merged(n.portSettings[p.Name], patch)
	p = withDefaults(p)
	if err == nil {
		err = set(&p, next, portKeys())
	}
	if err != nil {
		return p, api.Mark(api.ErrInvalid, fmt.Errorf("port %q: %w", p.Name, err))
	}
	n.portSettings[p.Name] = next
	return p, nil
}

// withDefaults returns p with the policy of a port that nobody has set.
func withDefaults(p api.Port) api.Port {
	p.Mode, p.Hairpin, p.Isolated, p.VLAN = "bridge", false, false, nil
	p.STP = &api.PortSTP{Edge: "auto", Priority: 128, Cost: 2000}
	p.Security, p.Storm, p.Guard, p.Rate = api.Security{}, api.Storm{}, api.Guard{}, api.PortRate{}
	return p
}

// merged returns old with a JSON merge patch applied; old stays as it is.
func merged(old settings, patch []byte) (settings, error) {
	var p settings
	if err := json.Unmarshal(patch, &p); err != nil {
		return nil, err
	}
	return merge(old, p), nil
}

// merge is MergePatch of RFC 7396 section 2.
func merge(old any, patch settings) settings {
	out, _ := old.(settings)
	if out = maps.Clone(out); out == nil {
		out = settings{}
	}
	for key, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(out, key)
		case settings:
			out[key] = merge(out[key], value)
		default:
			out[key] = value
		}
	}
	return out
}

// keys are the settings that have an effect, by their path in the file.
type keys[T any] map[string]func(into *T, value string) error

func set[T any](into *T, s settings, known keys[T]) error {
	flat := map[string]string{}
	flatten(flat, "", s)
	for _, path := range slices.Sorted(maps.Keys(flat)) {
		f, ok := known[path]
		if !ok {
			return fmt.Errorf("unknown key %q", path)
		}
		if err := f(into, flat[path]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func flatten(flat map[string]string, prefix string, s settings) {
	for key, value := range s {
		switch value := value.(type) {
		case settings:
			flatten(flat, prefix+key+".", value)
		case []any:
			list := strings.Trim(fmt.Sprint(value), "[]")
			flat[prefix+key] = strings.ReplaceAll(list, " ", ",")
		default:
			flat[prefix+key] = fmt.Sprint(value)
		}
	}
}

func networkKeys() keys[api.Network] {
	return keys[api.Network]{
		"mtu":              number(func(n *api.Network) *int { return &n.MTU }),
		"reserved_groups":  text(func(n *api.Network) *string { return &n.ReservedGroups }),
		"stp.enabled":      truth(func(n *api.Network) *bool { return &n.STP.Enabled }),
		"stp.priority":     number(func(n *api.Network) *int { return &n.STP.Priority }),
		"snooping.enabled": truth(func(n *api.Network) *bool { return &n.Snooping.Enabled }),
		"snooping.querier": truth(func(n *api.Network) *bool { return &n.Snooping.Querier }),
		"inbound.ipv6":     text(func(n *api.Network) *string { return &n.Inbound.IPv6 }),
		"fdb.limit":        number(func(n *api.Network) *int { return &n.FDB.Limit }),
	}
}

func portKeys() keys[api.Port] {
	return keys[api.Port]{
		"mode":     text(func(p *api.Port) *string { return &p.Mode }),
		"hairpin":  truth(func(p *api.Port) *bool { return &p.Hairpin }),
		"isolated": truth(func(p *api.Port) *bool { return &p.Isolated }),
		"vlan.access": func(p *api.Port, v string) error {
			id, err := strconv.ParseUint(v, 10, 12)
			vlanOf(p).Access = uint16(id)
			return err
		},
		"vlan.trunk": func(p *api.Port, v string) error {
			vlanOf(p).Trunk = strings.Split(v, ",")
			return nil
		},
		"vlan.native": func(p *api.Port, v string) error {
			id, err := strconv.ParseUint(v, 10, 12)
			vlanOf(p).Native = uint16(id)
			return err
		},
		"stp.bpdu_guard":    truth(func(p *api.Port) *bool { return &p.STP.BPDUGuard }),
		"security.max_macs": number(func(p *api.Port) *int { return &p.Security.MaxMACs }),
		"security.sticky":   truth(func(p *api.Port) *bool { return &p.Security.Sticky }),
		"security.sources": func(p *api.Port, v string) error {
			p.Security.Sources = strings.Split(v, ",")
			return nil
		},
		"guard.ra":        truth(func(p *api.Port) *bool { return &p.Guard.RA }),
		"guard.dhcp":      truth(func(p *api.Port) *bool { return &p.Guard.DHCP }),
		"storm.broadcast": number(func(p *api.Port) *int { return &p.Storm.Broadcast }),
	}
}

func vlanOf(p *api.Port) *api.PortVLAN {
	if p.VLAN == nil {
		p.VLAN = &api.PortVLAN{}
	}
	return p.VLAN
}

func text[T any](field func(*T) *string) func(*T, string) error {
	return func(into *T, value string) error {
		*field(into) = value
		return nil
	}
}

func truth[T any](field func(*T) *bool) func(*T, string) error {
	return func(into *T, value string) (err error) {
		*field(into), err = strconv.ParseBool(value)
		return err
	}
}

func number[T any](field func(*T) *int) func(*T, string) error {
	return func(into *T, value string) (err error) {
		*field(into), err = strconv.Atoi(value)
		return err
	}
}

// Join has a port ask for a multicast group.
func (b *Backend) Join(networkName string, vlan uint16, group, port string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.networks[networkName]
	n.groups = append(n.groups, api.Group{Network: networkName, VLAN: vlan, Group: group, Port: port, ExpiresSeconds: 260})
}

// Groups implements api.Backend.
func (b *Backend) Groups(networkName string) ([]api.Group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	chosen, err := b.choose(networkName)
	if err != nil {
		return nil, err
	}
	var all []api.Group
	for _, n := range chosen {
		all = append(all, n.groups...)
	}
	slices.SortFunc(all, func(a, b api.Group) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.VLAN, b.VLAN),
			netip.MustParseAddr(a.Group).Compare(netip.MustParseAddr(b.Group)), cmp.Compare(a.Port, b.Port))
	})
	return all, nil
}

// listenedTo returns the number of groups that somebody has asked for. The
// lock is held.
func (n *network) listenedTo() int {
	seen := map[string]bool{}
	for _, g := range n.groups {
		seen[fmt.Sprint(g.VLAN, " ", g.Group)] = true
	}
	return len(seen)
}
