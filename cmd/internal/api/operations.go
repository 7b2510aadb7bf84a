package api

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

func getStatus(b Backend, w http.ResponseWriter, _ *http.Request) error {
	s := b.Status()
	s.Uplinks, s.Notes = orEmpty(s.Uplinks), orEmpty(s.Notes)
	writeJSON(w, http.StatusOK, s)
	return nil
}

func getNetworks(b Backend, w http.ResponseWriter, _ *http.Request) error {
	networks := b.Networks()
	for i := range networks {
		networks[i] = networks[i].complete()
	}
	writeJSON(w, http.StatusOK, orEmpty(networks))
	return nil
}

func getNetwork(b Backend, w http.ResponseWriter, r *http.Request) error {
	n, err := findNetwork(b, r.PathValue("network"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, n.complete())
	return nil
}

func findNetwork(b Backend, name string) (Network, error) {
	for _, n := range b.Networks() {
		if n.Name == name {
			return n, nil
		}
	}
	return Network{}, Mark(ErrNotFound, fmt.Errorf("network %q does not exist: see \"weft network list\"", name))
}

func setNetwork(b Backend, w http.ResponseWriter, r *http.Request) error {
	settings, err := readObject(r)
	if err != nil {
		return err
	}
	if err := b.SetNetwork(r.PathValue("network"), settings); err != nil {
		return err
	}
	return getNetwork(b, w, r)
}

func getPorts(b Backend, w http.ResponseWriter, r *http.Request) error {
	ports, err := b.Ports(r.URL.Query().Get("network"))
	if err != nil {
		return err
	}
	for i := range ports {
		ports[i] = ports[i].complete()
	}
	writeJSON(w, http.StatusOK, orEmpty(ports))
	return nil
}

func getPort(b Backend, w http.ResponseWriter, r *http.Request) error {
	p, err := b.Port(r.PathValue("network"), r.PathValue("port"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, p.complete())
	return nil
}

func addPort(b Backend, w http.ResponseWriter, r *http.Request) error {
	var spec PortSpec
	if err := readJSON(r, &spec); err != nil {
		return err
	}
	if spec.Settings != nil {
		if err := checkObject("settings", spec.Settings); err != nil {
			return err
		}
	}
	network := r.PathValue("network")
	if err := b.AddPort(network, spec); err != nil {
		return err
	}
	p, err := b.Port(network, spec.Name)
	if err != nil {
		return err // somebody has removed it already
	}
	w.Header().Set("Location", "/v1/networks/"+url.PathEscape(network)+"/ports/"+url.PathEscape(spec.Name))
	writeJSON(w, http.StatusCreated, p.complete())
	return nil
}

func setPort(b Backend, w http.ResponseWriter, r *http.Request) error {
	settings, err := readObject(r)
	if err != nil {
		return err
	}
	if err := b.SetPort(r.PathValue("network"), r.PathValue("port"), settings); err != nil {
		return err
	}
	return getPort(b, w, r)
}

func removePort(b Backend, w http.ResponseWriter, r *http.Request) error {
	if err := b.RemovePort(r.PathValue("network"), r.PathValue("port")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func getFDB(b Backend, w http.ResponseWriter, r *http.Request) error {
	entries, err := b.FDB(r.URL.Query().Get("network"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, orEmpty(entries))
	return nil
}

func addFDB(b Backend, w http.ResponseWriter, r *http.Request) error {
	var spec FDBSpec
	if err := readJSON(r, &spec); err != nil {
		return err
	}
	if err := b.AddFDB(r.PathValue("network"), spec); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func removeFDB(b Backend, w http.ResponseWriter, r *http.Request) error {
	vlan, err := queryInt(r, "vlan", 0, 4094)
	if err != nil {
		return err
	}
	if err := b.RemoveFDB(r.PathValue("network"), r.PathValue("mac"), uint16(vlan)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func flushFDB(b Backend, w http.ResponseWriter, r *http.Request) error {
	n, err := b.FlushFDB(r.PathValue("network"), r.URL.Query().Get("port"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, Flushed{Flushed: n})
	return nil
}

func getGroups(b Backend, w http.ResponseWriter, r *http.Request) error {
	groups, err := b.Groups(r.URL.Query().Get("network"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, orEmpty(groups))
	return nil
}

func getNeighbors(b Backend, w http.ResponseWriter, r *http.Request) error {
	list, err := b.Neighbors(r.URL.Query().Get("network"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, orEmpty(list))
	return nil
}

func getLeases(b Backend, w http.ResponseWriter, r *http.Request) error {
	leases, err := b.Leases(r.URL.Query().Get("network"))
	if err != nil {
		return err
	}
	for i := range leases {
		leases[i] = leases[i].complete()
	}
	writeJSON(w, http.StatusOK, orEmpty(leases))
	return nil
}

func getLease(b Backend, w http.ResponseWriter, r *http.Request) error {
	l, err := b.Lease(r.PathValue("network"), r.PathValue("who"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, l.complete())
	return nil
}

func addLease(b Backend, w http.ResponseWriter, r *http.Request) error {
	var spec LeaseSpec
	if err := readJSON(r, &spec); err != nil {
		return err
	}
	if err := b.AddLease(r.PathValue("network"), spec); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func removeLease(b Backend, w http.ResponseWriter, r *http.Request) error {
	if err := b.RemoveLease(r.PathValue("network"), r.PathValue("who")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func releaseLease(b Backend, w http.ResponseWriter, r *http.Request) error {
	if err := b.ReleaseLease(r.PathValue("network"), r.PathValue("who")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func apply(b Backend, w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	dryRun := false
	if q.Has("dry_run") {
		var err error
		if dryRun, err = strconv.ParseBool(q.Get("dry_run")); err != nil {
			return badRequest("dry_run is %q: say true or false", q.Get("dry_run"))
		}
	}
	name := q.Get("name")
	if name == "" {
		name = "configuration"
	}
	yaml, err := io.ReadAll(r.Body)
	if err != nil {
		return bodyError(err)
	}
	changes, err := b.Apply(name, yaml, dryRun)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, Applied{DryRun: dryRun, Changes: orEmpty(changes)})
	return nil
}

func getConfig(b Backend, w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	w.Write(b.Config())
	return nil
}

// queryInt reads a decimal parameter between 0 and limit; absent means 0.
func queryInt(r *http.Request, key string, least, limit int) (int, error) {
	q := r.URL.Query()
	if !q.Has(key) {
		return 0, nil
	}
	v, err := strconv.Atoi(q.Get(key))
	if err != nil || v < least || v > limit {
		return 0, badRequest("%s is %q: say a number from %d to %d", key, q.Get(key), least, limit)
	}
	return v, nil
}

// complete replaces what is nil, so that a reader of the JSON always finds a
// list or a map, never null.
func (p Port) complete() Port {
	p.Addresses, p.Offloads = orEmpty(p.Addresses), orEmpty(p.Offloads)
	p.Security.Sources = orEmpty(p.Security.Sources)
	p.Drops = orEmptyMap(p.Drops)
	return p
}

// complete does so for a network; what it points to stays as it is.
func (n Network) complete() Network {
	n.Addresses = orEmpty(n.Addresses)
	if n.DHCP != nil {
		d := *n.DHCP
		d.Ranges, d.Messages, d.Leases = orEmpty(d.Ranges), orEmpty(d.Messages), orEmptyMap(d.Leases)
		n.DHCP = &d
	}
	if n.DHCP6 != nil {
		d := *n.DHCP6
		d.Ranges, d.Delegated = orEmpty(d.Ranges), orEmpty(d.Delegated)
		d.Messages, d.Leases = orEmpty(d.Messages), orEmptyMap(d.Leases)
		n.DHCP6 = &d
	}
	if n.RA != nil {
		a := *n.RA
		a.Prefixes, a.Routes, a.DNS, a.Search = orEmpty(a.Prefixes), orEmpty(a.Routes), orEmpty(a.DNS), orEmpty(a.Search)
		n.RA = &a
	}
	if n.DNS != nil {
		d := *n.DNS
		d.Upstreams, d.Queries = orEmpty(d.Upstreams), orEmptyMap(d.Queries)
		d.Latency.Bounds, d.Latency.Counts = orEmpty(d.Latency.Bounds), orEmpty(d.Latency.Counts)
		n.DNS = &d
	}
	if n.NAT != nil {
		t := *n.NAT
		t.Protocols, t.Refused = orEmpty(t.Protocols), orEmptyMap(t.Refused)
		n.NAT = &t
	}
	return n
}

func orEmptyMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
