package option

// format is how the value of an option is written and sent.
type format uint8

const (
	opaque    format = iota // not known, or a vendor's: see parseOpaque
	address                 // one IPv4 address
	addresses               // one or more
	pairs                   // an even number of them
	boolean                 // one byte, 0 or 1
	number8
	number16
	numbers16 // one or more
	signed32
	seconds // 32 bits, all ones: for ever
	text
	domain  // one name as text
	label   // one name in DNS form, never compressed
	labels  // several in DNS form, never compressed
	search  // several, compressed (RFC 3397)
	servers // SIP servers: names or addresses behind a byte that says which (RFC 3361)
	routes  // classless routes (RFC 3442)
)

type entry struct {
	name   string
	format format
}

// table is the options by code: the names that dnsmasq uses where it has one,
// else a short form of IANA's.
var table = [256]entry{
	1:   {"netmask", address},
	2:   {"time-offset", signed32},
	3:   {"router", addresses},
	4:   {"time-server", addresses},
	5:   {"ien-name-server", addresses},
	6:   {"dns-server", addresses},
	7:   {"log-server", addresses},
	8:   {"cookie-server", addresses},
	9:   {"lpr-server", addresses},
	10:  {"impress-server", addresses},
	11:  {"resource-server", addresses},
	12:  {"hostname", text},
	13:  {"boot-file-size", number16},
	14:  {"merit-dump", text},
	15:  {"domain-name", domain},
	16:  {"swap-server", address},
	17:  {"root-path", text},
	18:  {"extension-path", text},
	19:  {"ip-forward-enable", boolean},
	20:  {"non-local-source-routing", boolean},
	21:  {"policy-filter", pairs},
	22:  {"max-datagram-reassembly", number16},
	23:  {"default-ttl", number8},
	24:  {"path-mtu-aging", seconds},
	25:  {"path-mtu-plateau", numbers16},
	26:  {"mtu", number16},
	27:  {"all-subnets-local", boolean},
	28:  {"broadcast", address},
	29:  {"mask-discovery", boolean},
	30:  {"mask-supplier", boolean},
	31:  {"router-discovery", boolean},
	32:  {"router-solicitation", address},
	33:  {"static-route", pairs},
	34:  {"trailer-encapsulation", boolean},
	35:  {"arp-timeout", seconds},
	36:  {"ethernet-encap", boolean},
	37:  {"tcp-ttl", number8},
	38:  {"tcp-keepalive", seconds},
	39:  {"tcp-keepalive-garbage", boolean},
	40:  {"nis-domain", text},
	41:  {"nis-server", addresses},
	42:  {"ntp-server", addresses},
	43:  {"vendor-encap", opaque},
	44:  {"netbios-ns", addresses},
	45:  {"netbios-dd", addresses},
	46:  {"netbios-nodetype", number8},
	47:  {"netbios-scope", text},
	48:  {"x-windows-fs", addresses},
	49:  {"x-windows-dm", addresses},
	50:  {"requested-address", address},
	51:  {"lease-time", seconds},
	52:  {"option-overload", number8},
	53:  {"message-type", number8},
	54:  {"server-identifier", address},
	55:  {"parameter-request", opaque},
	56:  {"message", text},
	57:  {"max-message-size", number16},
	58:  {"T1", seconds},
	59:  {"T2", seconds},
	60:  {"vendor-class", opaque},
	61:  {"client-id", opaque},
	64:  {"nis+-domain", text},
	65:  {"nis+-server", addresses},
	66:  {"tftp-server", text},
	67:  {"bootfile-name", text},
	68:  {"mobile-ip-home", addresses},
	69:  {"smtp-server", addresses},
	70:  {"pop3-server", addresses},
	71:  {"nntp-server", addresses},
	72:  {"www-server", addresses},
	73:  {"finger-server", addresses},
	74:  {"irc-server", addresses},
	75:  {"streettalk-server", addresses},
	76:  {"stda-server", addresses},
	77:  {"user-class", opaque},
	80:  {"rapid-commit", opaque},
	81:  {"FQDN", opaque},
	82:  {"agent-id", opaque},
	83:  {"isns", opaque},
	85:  {"nds-server", addresses},
	86:  {"nds-tree", text},
	87:  {"nds-context", text},
	93:  {"client-arch", numbers16},
	94:  {"client-interface-id", opaque},
	95:  {"ldap-server", text},
	97:  {"client-machine-id", opaque},
	98:  {"uap-server", text},
	100: {"posix-timezone", text},
	101: {"tzdb-timezone", text},
	108: {"ipv6-only", seconds},
	112: {"netinfo-server", addresses},
	113: {"netinfo-tag", text},
	114: {"captive-portal", text},
	116: {"auto-configure", boolean},
	117: {"name-service-search", numbers16},
	118: {"subnet-select", address},
	119: {"domain-search", search},
	120: {"sip-server", servers},
	121: {"classless-static-route", routes},
	124: {"vendor-class-id", opaque},
	125: {"vendor-id-encap", opaque},
	137: {"lost-server", label},
	138: {"capwap-server", addresses},
	141: {"sip-ua-domain", labels},
	150: {"tftp-server-address", addresses},
	208: {"pxelinux-magic", opaque},
	209: {"pxelinux-configfile", text},
	210: {"pxelinux-pathprefix", text},
	211: {"pxelinux-reboottime", seconds},
	249: {"ms-classless-static-route", routes},
	252: {"wpad", text},
}

// aliases are names that other servers' files have for the options people set.
var aliases = map[string]uint8{
	"subnet-mask":             1,
	"routers":                 3,
	"domain-name-server":      6,
	"domain-name-servers":     6,
	"host-name":               12,
	"interface-mtu":           26,
	"broadcast-address":       28,
	"ntp-servers":             42,
	"vendor-class-identifier": 60,
	"tftp-server-name":        66,
	"boot-file-name":          67,
	"classless-static-routes": 121,
}

// owned are the options that the server makes anew for each message, with what
// there is to use in their place.
var owned = map[uint8]string{
	50: "clients send it; use hosts to give a client its address",
	51: "use lease",
	52: "it says where the options of a message are; see no_override",
	53: "it says what a message is",
	54: "it is the gateway's address",
	55: "clients send it",
	57: "clients send it",
	61: "clients send it; use client_id in hosts",
	80: "it is sent to clients that ask for it",
	81: "it answers what a client calls itself; use name in hosts",
	82: "relay agents send it",
}
