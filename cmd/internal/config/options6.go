package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/weft/weft/dhcp/option"
)

// maxOptions6 bounds what is told beside addresses: a message is to fit one packet
// of the least MTU.
const maxOptions6 = 1024

// format6 is how the value of a DHCPv6 option is written and sent. Most are those
// of some option of DHCPv4, whose name stands for them.
type format6 string

const (
	names6   format6 = "sip-ua-domain" // in DNS form, never compressed (RFC 8415 section 10)
	text6    format6 = "root-path"
	seconds6 format6 = "arp-timeout"
	byte6    format6 = "default-ttl"
	opaque6  format6 = "224"

	addresses6  format6 = "addresses"
	servers6    format6 = "NTP servers"
	parameters6 format6 = "parameters"
)

// An option6 is one of DHCPv6 that is known by a name; the first of several is the
// usual one.
type option6 struct {
	code   uint16
	format format6
	names  []string
}

// options6 are those of the registry that a server has reason to send, in the names
// that dnsmasq's users write.
func options6() []option6 {
	return []option6{
		{7, byte6, []string{"preference"}},
		{21, names6, []string{"sip-server-domain"}},
		{22, addresses6, []string{"sip-server", "sip-servers"}},
		{23, addresses6, []string{"dns-server", "dns-servers"}},
		{24, names6, []string{"domain-search"}},
		{27, addresses6, []string{"nis-server", "nis-servers"}},
		{28, addresses6, []string{"nis+-server", "nis+-servers"}},
		{29, names6, []string{"nis-domain"}},
		{30, names6, []string{"nis+-domain"}},
		{31, addresses6, []string{"sntp-server", "sntp-servers"}},
		{32, seconds6, []string{"information-refresh-time"}},
		{33, names6, []string{"bcmcs-server-domain"}},
		{34, addresses6, []string{"bcmcs-server", "bcmcs-servers"}},
		{41, text6, []string{"posix-timezone"}},
		{42, text6, []string{"tzdb-timezone"}},
		{52, addresses6, []string{"capwap-ac"}},
		{56, servers6, []string{"ntp-server", "ntp-servers"}},
		{59, text6, []string{"bootfile-url"}},
		{60, parameters6, []string{"bootfile-param", "bootfile-params"}},
		{64, names6, []string{"aftr-name"}},
		{82, seconds6, []string{"sol-max-rt"}},
		{83, seconds6, []string{"inf-max-rt"}},
		{103, text6, []string{"captive-portal"}},
	}
}

// owned6 says what to use in place of an option that the server makes itself, empty
// for one that may be set.
func owned6(code uint16) string {
	switch code {
	case 3, 4, 5:
		return "use range and hosts"
	case 14:
		return "use rapid_commit"
	case 25, 26:
		return "use delegate"
	case 39:
		return "use the name of a host"
	case 1, 2, 6, 8, 9, 11, 12, 13, 15, 16, 18, 19, 20:
		return "it belongs to the protocol"
	}
	return ""
}

// parseOption6 makes an option of what is written in a configuration. The key is a
// number, a name, or either behind "option6:" as in dnsmasq's files; values have
// commas between them. The error is one clause that does not repeat the key.
func parseOption6(key, value string) (code uint16, data []byte, err error) {
	code, format, err := parseKey6(key)
	if err != nil {
		return 0, nil, err
	}
	if why := owned6(code); why != "" {
		return 0, nil, errors.New("is set by the server itself: " + why)
	}
	if data, err = format.parse(strings.TrimSpace(value)); err != nil {
		return 0, nil, err
	}
	if len(data) > maxOptions6 {
		return 0, nil, fmt.Errorf("is %d bytes long: at most %d", len(data), maxOptions6)
	}
	return code, data, nil
}

func parseKey6(key string) (uint16, format6, error) {
	name := strings.ToLower(strings.TrimSpace(key))
	name = strings.TrimSpace(strings.TrimPrefix(name, "option6:"))
	if name == "" {
		return 0, "", errors.New("has no number and no name")
	}
	if name[0] >= '0' && name[0] <= '9' {
		v, err := strconv.ParseUint(name, 10, 16)
		if err != nil || v == 0 {
			return 0, "", errors.New("is not the number of an option: 1-65535")
		}
		for _, o := range options6() {
			if o.code == uint16(v) {
				return o.code, o.format, nil
			}
		}
		return uint16(v), opaque6, nil
	}
	var known []string
	for _, o := range options6() {
		if slices.Contains(o.names, name) {
			return o.code, o.format, nil
		}
		known = append(known, o.names...)
	}
	why := ""
	if near := nearest(name, known); near != "" {
		why = "; did you mean " + quoted(near) + "?"
	}
	return 0, "", errors.New("is not the name of an option that is known here: give its number" + why)
}

func (f format6) parse(value string) ([]byte, error) {
	if value == "" {
		return nil, errors.New("has no value")
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	switch f {
	case addresses6:
		return appendAddresses(nil, parts)
	case servers6:
		return parseServers6(parts)
	case parameters6:
		return parseParameters6(parts)
	case opaque6:
		if _, hex := hexBytes(value); hex {
			break
		}
		if data, err := appendAddresses(nil, parts); err == nil {
			return data, nil
		}
	}
	o, err := option.Parse(string(f), value)
	if err != nil {
		return nil, err
	}
	if why := badOption(o, value); why != "" {
		return nil, errors.New(why)
	}
	return o.Data, nil
}

func appendAddresses(data []byte, parts []string) ([]byte, error) {
	for _, part := range parts {
		a, err := netip.ParseAddr(part)
		if err != nil || !ipv6.has(a) || a.Zone() != "" {
			return nil, fmt.Errorf("%s is not an IPv6 address", quoted(part))
		}
		data = append(data, a.AsSlice()...)
	}
	return data, nil
}

// parseServers6 encodes each as a part of its own (RFC 5908): an address, or a name.
func parseServers6(parts []string) (data []byte, err error) {
	const address, name = 1, 3
	for _, part := range parts {
		kind, value := uint16(address), []byte(nil)
		if a, failed := netip.ParseAddr(part); failed == nil {
			value, err = appendAddresses(nil, []string{a.String()})
		} else {
			kind = name
			value, err = names6.parse(part)
		}
		if err != nil {
			return nil, err
		}
		data = binary.BigEndian.AppendUint16(data, kind)
		data = append(binary.BigEndian.AppendUint16(data, uint16(len(value))), value...)
	}
	return data, nil
}

// parseParameters6 encodes texts with their lengths (RFC 5970 section 3.2).
func parseParameters6(parts []string) (data []byte, err error) {
	for _, part := range parts {
		value, err := text6.parse(part)
		if err != nil {
			return nil, err
		}
		data = append(binary.BigEndian.AppendUint16(data, uint16(len(value))), value...)
	}
	return data, nil
}
