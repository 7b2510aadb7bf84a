package config

import "fmt"

// PatchPort changes the policy of a port: body is a map in YAML or JSON with
// keys of a port of the file. Only what is given changes; null, or an empty
// string, is the default of a key or of all keys of a map. A burst that is the
// default of its average follows a change of that.
//
// The error is Errors, each of which names the port and the key. Then nothing
// has changed; else c needs Normalize and Validate.
func (c *Config) PatchPort(network, port string, body []byte) error {
	n := c.Network(network)
	if n == nil {
		return missing(place{network: network})
	}
	p := n.Port(port)
	if p == nil {
		return missing(place{network: network, port: port})
	}
	next := *p
	next.Rate.Ingress.unfill()
	next.Rate.Egress.unfill()
	return patch(body, place{port: port}, portKeys(), p, next, Port{Policy: defaultPolicy()}, nil)
}

// PatchNetwork does for the keys of a network what PatchPort does for those of
// a port. Those of a bridge decide what its ports are, so that neither forward nor
// uplink can make a network one, or anything else of it.
func (c *Config) PatchNetwork(network string, body []byte) error {
	n := c.Network(network)
	if n == nil {
		return missing(place{network: network})
	}
	keys, at := networkKeys(), place{network: network}
	for i := range keys {
		if name := keys[i].name; n.Forward == ForwardBridge && (name == "forward" || name == "uplink") {
			keys[i].fixed = true
		}
	}
	return patch(body, at, keys, n, *n, NewNetwork(network), func(r *report, next *Network) {
		if in := at.sub("forward"); next.Forward == ForwardBridge && n.Forward != ForwardBridge {
			r.refuse(in, "%s %s", ForwardBridge, whyFixed(at))
		}
	})
}

func missing(at place) error {
	return Errors{{Text: at.String() + "does not exist: add it first"}}
}

// patch decodes body onto next, and puts that into the place of the value it is
// a copy of when nothing is wrong; check, which may be nil, has a look at it first.
func patch[T any](body []byte, at place, keys []key[T], into *T, next, def T, check func(*report, *T)) error {
	r := newReport("")
	root := parseTree(r, body)
	for i := range r.errs {
		r.errs[i].Text = at.String() + r.errs[i].Text
	}
	if root != nil {
		decodeMap(r, root, at, keys, &next, &def)
	}
	if check != nil {
		check(r, &next)
	}
	if err := r.err(); err != nil {
		return err
	}
	*into = next
	return nil
}

// whyFixed says what to do about a key that no patch may set, of the map at
// that place.
func whyFixed(at place) string {
	const what = "cannot be set while the %s runs: change the file and apply it"
	if at.port != "" {
		return fmt.Sprintf(what+", or remove and add the port", "port")
	}
	return fmt.Sprintf(what, "network")
}
