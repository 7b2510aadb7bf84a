package option

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxData bounds the bytes of one option. A value longer than 255 bytes is sent
// in several options of the same code (RFC 3396), and a message has room for
// few of these.
const MaxData = 1024

// Option is one DHCPv4 option as it is sent. Data may be longer than 255 bytes.
type Option struct {
	Code uint8
	Data []byte
}

// Parse makes an option of what is written in a configuration. The key is a
// number (1-254), a name, or a name behind "option:" as in dnsmasq's files; case
// does not matter. Values are separated by commas. How a value is read depends
// on the option:
//
//	addresses   192.0.2.1,192.0.2.2
//	numbers     1500 or 0x5dc
//	times       seconds, or 90s, 5m, 12h, 7d, infinite
//	switches    true, false, yes, no, on, off, 1, 0
//	domains     lab.example,example
//	routes      10.0.0.0/8,192.0.2.1,0.0.0.0/0,192.0.2.2 (network and router in turn)
//	text        as it is; in double quotes where it has blanks at an end
//
// An option that is not known, or whose content is a vendor's, is hex bytes
// where the value looks like 01:02:ff or 0x0102ff, addresses where each part is
// one, and text in all other cases; in double quotes it is text always.
//
// The error is one clause that does not repeat the key.
func Parse(key, value string) (Option, error) {
	code, err := parseKey(key)
	if err != nil {
		return Option{}, err
	}
	if why, ok := owned[code]; ok {
		return Option{}, fmt.Errorf("is set by the server itself: %s", why)
	}
	data, err := parseValue(table[code].format, strings.TrimSpace(value))
	switch {
	case err != nil:
		return Option{}, err
	case len(data) > MaxData:
		return Option{}, fmt.Errorf("is %d bytes long: at most %d", len(data), MaxData)
	}
	return Option{Code: code, Data: data}, nil
}

// Name is what an option is called, or "" where it has no name here.
func Name(code uint8) string {
	return table[code].name
}

// nextServer is dnsmasq's name for a field of the header that it sets as if it
// were an option.
const nextServer = "server-ip-address"

func parseKey(key string) (uint8, error) {
	name := strings.ToLower(strings.TrimSpace(key))
	name = strings.TrimSpace(strings.TrimPrefix(name, "option:"))
	switch {
	case name == "":
		return 0, errors.New("has no number and no name")
	case name == nextServer:
		return 0, errors.New("is a field of the header and no option: use next_server")
	case name[0] >= '0' && name[0] <= '9':
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil || n < 1 || n > 254 {
			return 0, errors.New("is not the number of an option: 1-254")
		}
		return uint8(n), nil
	case strings.HasPrefix(name, "option6:"):
		return 0, errors.New("is an option of DHCPv6: this server speaks DHCPv4")
	}
	for code := range table {
		if strings.EqualFold(table[code].name, name) {
			return uint8(code), nil
		}
	}
	if code, ok := aliases[name]; ok {
		return code, nil
	}
	return 0, errors.New("is not the name of an option that is known here: give its number")
}
