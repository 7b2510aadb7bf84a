package config

import _ "embed"

// Reference returns a configuration file that explains every key. A line whose
// "#" is followed by a letter is configuration that is switched off; every
// other comment is prose.
func Reference() string { return reference }

//go:embed reference.yaml
var reference string
