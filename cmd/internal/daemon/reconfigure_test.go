package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/weft/weft/cmd/internal/config"
)

// Which ports are added, replaced and removed between two files.
func TestPlan(t *testing.T) {
	tests := []struct {
		name      string
		old, next string
		want      string
	}{
		{"nothing", "a: {ports: {x: {type: tap}}}", "a: {ports: {x: {type: tap}}}", ""},
		{"new network and port", "", "a: {ports: {x: {type: tap}}}", "+net a, +a/x"},
		{"gone", "a: {ports: {x: {type: tap}}}", "", "-net a, -a/x"},
		{"MTU", "a: {}", "a: {mtu: 9000}", "~net a"},
		{"ageing", "a: {}", "a: {fdb: {ageing: 10s}}", "~net a"},
		{"policy", "a: {ports: {x: {type: tap}}}", "a: {ports: {x: {type: tap, isolated: true, vlan: {access: 7}}}}", "~net a"},
		{"the same policy", "a: {ports: {x: {type: tap, vlan: {trunk: [7, 5]}}}}", "a: {ports: {x: {type: tap, vlan: {trunk: [5, 7]}}}}", ""},
		{"policy of a new port", "a: {}", "a: {ports: {x: {type: tap, isolated: true}}}", "+a/x"},
		{"spanning tree", "a: {}", "a: {stp: {enabled: true}}", "~net a"},
		{"uplink", "a: {ports: {x: {type: raw}}}", "a: {forward: bridge, uplink: {interface: x}, ports: {x: {type: raw}}}", "~net a"},
		{"owner", "a: {ports: {x: {type: tap}}}", "a: {ports: {x: {type: tap, owner: root}}}", "stop a/x, start a/x"},
		{"renamed", "a: {ports: {x: {type: tap, interface: t}}}", "a: {ports: {y: {type: tap, interface: t}}}", "stop a/x, start a/y"},
		{"moved", "a: {ports: {x: {type: raw}}}\n  b: {}", "a: {}\n  b: {ports: {x: {type: raw}}}", "stop a/x, start b/x"},
		{"same interface name in another namespace", "a: {ports: {x: {type: internal, interface: e}}}",
			"a: {ports: {y: {type: internal, interface: e, netns: n}}}", "+a/y, -a/x"},
		{"swapped", "a: {ports: {x: {type: raw, interface: i}, y: {type: raw, interface: j}}}",
			"a: {ports: {x: {type: raw, interface: j}, y: {type: raw, interface: i}}}", "stop a/x, stop a/y, start a/x, start a/y"},
		{"taken over", "a: {ports: {x: {type: raw, interface: i}, y: {type: raw, interface: j}}}",
			"a: {ports: {y: {type: raw, interface: i}}}", "stop a/x, stop a/y, start a/y"},
		{"beside", "a: {ports: {x: {type: raw}}}", "a: {ports: {x: {type: raw}, y: {type: raw}}}", "+a/y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlan(parse(t, tt.old), parse(t, tt.next))
			var got []string
			for _, n := range p.addNetworks {
				got = append(got, "+net "+n.Name)
			}
			for _, n := range p.changeNetworks {
				got = append(got, "~net "+n.Name)
			}
			for _, n := range p.removeNetworks {
				got = append(got, "-net "+n.Name)
			}
			name := func(c portChange) string { return c.key.network + "/" + c.key.port }
			for _, group := range []struct {
				sign  string
				ports []portChange
			}{{"+", p.add}, {"stop ", p.stop}, {"start ", p.start}, {"-", p.remove}} {
				for _, c := range group.ports {
					got = append(got, group.sign+name(c))
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func parse(t *testing.T, networks string) *config.Config {
	t.Helper()
	text := "networks: {}\n"
	if networks != "" {
		text = "networks:\n  " + networks + "\n"
	}
	c, err := config.Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A failing step undoes those before it, in reverse, and nothing after it runs.
func TestExecuteUndoes(t *testing.T) {
	for fail := range 4 {
		var log []string
		var steps []step
		for i := range 3 {
			steps = append(steps, step{
				do: func() error {
					log = append(log, fmt.Sprint("do", i))
					if i == fail {
						return errors.New("no")
					}
					return nil
				},
				undo: func() { log = append(log, fmt.Sprint("undo", i)) },
			})
		}
		err := (&Daemon{}).execute(steps)
		want := []string{
			"do0", "do0 do1 undo0", "do0 do1 do2 undo1 undo0", "do0 do1 do2",
		}[fail]
		if got := strings.Join(log, " "); got != want || (err == nil) != (fail == 3) {
			t.Errorf("step %d fails: %s, %v; want %s", fail, got, err, want)
		}
	}
}
