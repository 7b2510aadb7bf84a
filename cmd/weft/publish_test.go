package main

import (
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/api"
)

func TestForward(t *testing.T) {
	for text, want := range map[string]forward{
		"tcp::19888-192.168.122.10:22":         {"tcp", "19888", "192.168.122.10:22"},
		"::19888-192.168.122.10:22":            {"tcp", "19888", "192.168.122.10:22"},
		"hostfwd=tcp::19888-192.168.122.10:22": {"tcp", "19888", "192.168.122.10:22"},
		"udp:127.0.0.1:53-10.0.0.1:5353":       {"udp", "127.0.0.1:53", "10.0.0.1:5353"},
		"udp:0.0.0.0:53-10.0.0.1:53":           {"udp", "53", "10.0.0.1:53"},
		"tcp:[::1]:80-[2001:db8::1]:80":        {"tcp", "[::1]:80", "[2001:db8::1]:80"},
		"tcp:[::]:80-10.0.0.1:80":              {"tcp", "80", "10.0.0.1:80"},
		"udp:[2001:DB8::1]:53-[fd00::1]:53":    {"udp", "[2001:db8::1]:53", "[fd00::1]:53"},
		"tcp::80-[2001:db8::1]:80":             {"tcp", "80", "[2001:db8::1]:80"},
		"::80":                                 {"tcp", "80", ""},
		"tcp::19888-:22":                       {"tcp", "19888", ""},
		"tcp::19888":                           {"tcp", "19888", ""},
		"tcp:127.0.0.1:80":                     {"tcp", "127.0.0.1:80", ""},
	} {
		if got, err := parseForward(text); err != nil || got != want || !isForward(text) {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	const form = " has no port: write it as [tcp|udp]:[HOSTADDR]:HOSTPORT-GUESTADDR:GUESTPORT"
	for text, want := range map[string]string{
		"hostfwd=sctp::80-10.0.0.1:80": `protocol "sctp": say tcp or udp`,
		"hostfwd=19888":                `protocol "19888": say tcp or udp`,
		"tcp:":                         `""` + form,
		"tcp:19888-10.0.0.1:22":        `"19888"` + form,
		"tcp::19888-10.0.0.1":          `"10.0.0.1"` + form,
		"tcp::-10.0.0.1:22":            `":"` + form,
		"tcp::19888-":                  `""` + form,
		"tcp:web:80-10.0.0.1:80":       `"web" is no IP address`,
		"tcp:::1:80-10.0.0.1:80":       `"::1:80": write an IPv6 address in brackets, such as [2001:db8::1]:80`,
		"::1:8080":                     `":1:8080": write an IPv6 address in brackets, such as [2001:db8::1]:8080`,
		"tcp::80-2001:db8::1:80":       `"2001:db8::1:80": write an IPv6 address in brackets, such as [2001:db8::1]:80`,
		"tcp:[]:80-10.0.0.1:80":        `"" is no IP address`,
		"tcp:[::1:80-10.0.0.1:80":      `"[::1" is no IP address`,
		"tcp:[fe80::1%a]:80":           `"fe80::1%a" is no IP address`,
		"tcp::80-web:80":               `"web" is no IP address`,
	} {
		if _, err := parseForward(text); err == nil || err.Error() != want || !isForward(text) {
			t.Errorf("%s: got %v\nwant %s", text, err, want)
		}
	}
	// Where weft listens is no forward.
	for _, text := range []string{"19888", "8000-8009", "127.0.0.1:80", "127.0.0.1:8000-8009", "[::1]:80", "2001:db8::1", "tcp", "web:80"} {
		if isForward(text) {
			t.Errorf("%s is taken for a forward", text)
		}
	}
}

// An address of IPv6 without brackets is refused in the words of the command, also
// where it looks like the beginning of QEMU's form.
func TestUnbracketed(t *testing.T) {
	for _, tc := range []struct{ listen, to, want string }{
		{"::1:8089", "[2001:db8::1]:80", `"::1:8089" has no brackets around its IPv6 address: write [::1]:8089`},
		{"[::1]:8089", "2001:db8::1:80", `"2001:db8::1:80" has no brackets around its IPv6 address: write [2001:db8::1]:80`},
		{"80", "2001:db8::1", `"2001:db8::1": write an IPv6 address in brackets and its port behind them, such as [2001:db8::1]:80`},
		{"fd00::1:8000-8009", "10.0.0.1:80", `"fd00::1:8000-8009" has no brackets around its IPv6 address: write [fd00::1]:8000-8009`},
	} {
		for _, verb := range []string{"add", "rm"} {
			cmd := newPublishCommand(&app{})
			cmd.SetArgs([]string{verb, "lab", tc.listen, tc.to})
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			if err := cmd.Execute(); err == nil || err.Error() != verb+": "+tc.want {
				t.Errorf("%s %s %s: got %v\nwant %s", verb, tc.listen, tc.to, err, tc.want)
			}
		}
	}
	for _, end := range []string{"19888", "8000-8009", "127.0.0.1:80", "[::1]:80", "[::1]:8000-8009", "web:80", "tcp::80-10.0.0.1:80", "::80", ":80",
		"::80-[2001:db8::1]:22", "[2001:db8::1]:22"} {
		if err := bracketed(end); err != nil {
			t.Errorf("%s: %v", end, err)
		}
	}
}

// TRANSLATED holds what has changed and nothing else, in one word.
func TestTranslatedCell(t *testing.T) {
	original := api.FlowEnds{Source: "10.0.0.1:1", Destination: "192.0.2.2:80"}
	for want, translated := range map[string]api.FlowEnds{
		"":                        original,
		"192.0.2.2:1":             {Source: "192.0.2.2:1", Destination: "192.0.2.2:80"},
		"10.0.0.9:80":             {Source: "10.0.0.1:1", Destination: "10.0.0.9:80"},
		"192.0.2.2:1,10.0.0.9:80": {Source: "192.0.2.2:1", Destination: "10.0.0.9:80"},
	} {
		if got := translatedCell(&api.Flow{Original: original, Translated: translated}); got != want || strings.Contains(got, " ") {
			t.Errorf("%v: %q, want %q", translated, got, want)
		}
	}
}
