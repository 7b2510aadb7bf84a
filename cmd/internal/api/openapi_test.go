package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

const document = "../../../docs/openapi.yaml"

type object = map[string]any

func readDocument(t *testing.T) object {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var doc object
	if err := yaml.UnmarshalWithOptions(text, &doc, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at walks down the document; a missing step is a failure.
func at(t *testing.T, node any, path ...string) object {
	t.Helper()
	for i, key := range path {
		m, _ := node.(object)
		if node = m[key]; node == nil {
			t.Fatalf("%s lacks %s", document, strings.Join(path[:i+1], " / "))
		}
	}
	m, ok := node.(object)
	if !ok {
		t.Fatalf("%s: %s is no object", document, strings.Join(path, " / "))
	}
	return m
}

// resolve follows one $ref into the document.
func resolve(t *testing.T, doc object, node any) object {
	t.Helper()
	m := at(t, node)
	if ref, ok := m["$ref"].(string); ok {
		return at(t, doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return m
}

var methods = []string{"get", "post", "put", "patch", "delete", "head", "options", "trace"}

func TestDocumentHoldsEveryRoute(t *testing.T) {
	doc := readDocument(t)
	var documented, served []string
	for path, item := range at(t, doc, "paths") {
		for key := range at(t, item) {
			if slices.Contains(methods, key) {
				documented = append(documented, strings.ToUpper(key)+" "+path)
			}
		}
	}
	for _, r := range routes() {
		served = append(served, r.method+" "+r.path)
	}
	slices.Sort(documented)
	slices.Sort(served)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Errorf("routes (-served +documented):\n%s", diff)
	}
}

func TestDocumentHoldsEveryParameter(t *testing.T) {
	doc := readDocument(t)
	ids := map[string]string{}
	for _, r := range routes() {
		item := at(t, doc, "paths", r.path)
		op := at(t, item, strings.ToLower(r.method))
		var inPath, inQuery []string
		shared, _ := item["parameters"].([]any)
		own, _ := op["parameters"].([]any)
		for _, node := range append(slices.Clone(shared), own...) {
			p := resolve(t, doc, node)
			switch name := p["name"].(string); p["in"] {
			case "path":
				inPath = append(inPath, name)
			case "query":
				inQuery = append(inQuery, name)
			default:
				t.Errorf("%s %s: %s is in %v", r.method, r.path, name, p["in"])
			}
		}
		var wantPath []string
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(r.path, -1) {
			wantPath = append(wantPath, m[1])
		}
		slices.Sort(inQuery)
		if !slices.Equal(inPath, wantPath) || !slices.Equal(inQuery, r.query) {
			t.Errorf("%s %s: documented path %v query %v, served %v and %v",
				r.method, r.path, inPath, inQuery, wantPath, r.query)
		}
		id := fmt.Sprint(op["operationId"])
		if other := ids[id]; other != "" {
			t.Errorf("operationId %s is both %s and %s", id, other, r.path)
		}
		ids[id] = r.path
	}
}

// Every $ref leads somewhere, and nothing is defined that nobody refers to.
func TestDocumentRefs(t *testing.T) {
	doc := readDocument(t)
	used := map[string]bool{}
	var walk func(any)
	walk = func(node any) {
		switch v := node.(type) {
		case object:
			if ref, ok := v["$ref"].(string); ok {
				resolve(t, doc, v)
				used[ref] = true
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(doc)
	for kind, all := range at(t, doc, "components") {
		for name := range at(t, all) {
			if ref := "#/components/" + kind + "/" + name; !used[ref] {
				t.Errorf("%s is never referred to", ref)
			}
		}
	}
}

// jsonTypes are all types that cross the socket as JSON.
func jsonTypes() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[Status](), reflect.TypeFor[Fastpath](),
		reflect.TypeFor[Network](), reflect.TypeFor[NetworkFDB](), reflect.TypeFor[NetworkSTP](), reflect.TypeFor[NetworkSnooping](),
		reflect.TypeFor[Port](), reflect.TypeFor[Counters](), reflect.TypeFor[PortSpec](),
		reflect.TypeFor[PortVLAN](), reflect.TypeFor[PortSTP](), reflect.TypeFor[Security](), reflect.TypeFor[Storm](), reflect.TypeFor[Guard](),
		reflect.TypeFor[PortRate](), reflect.TypeFor[Rate](),
		reflect.TypeFor[FDBEntry](), reflect.TypeFor[FDBSpec](), reflect.TypeFor[Flushed](), reflect.TypeFor[Group](),
		reflect.TypeFor[NetworkDHCP](), reflect.TypeFor[DHCPMessages](),
		reflect.TypeFor[NetworkDHCP6](), reflect.TypeFor[DelegatedPool](), reflect.TypeFor[NetworkRA](), reflect.TypeFor[NetworkInbound](),
		reflect.TypeFor[NetworkDNS](), reflect.TypeFor[DNSUpstream](), reflect.TypeFor[DNSLatency](),
		reflect.TypeFor[Neighbor](), reflect.TypeFor[Lease](), reflect.TypeFor[LeaseSpec](),
		reflect.TypeFor[Flow](), reflect.TypeFor[FlowEnds](), reflect.TypeFor[NetworkNAT](), reflect.TypeFor[NATProtocol](),
		reflect.TypeFor[Publish](), reflect.TypeFor[PublishSpec](), reflect.TypeFor[Uplink](), reflect.TypeFor[UsablePorts](),
		reflect.TypeFor[Applied](), reflect.TypeFor[Problem](),
	}
}

func TestDocumentHoldsEveryType(t *testing.T) {
	var names []string
	for _, typ := range jsonTypes() {
		names = append(names, typ.Name())
	}
	slices.Sort(names)
	documented := slices.Sorted(maps.Keys(at(t, readDocument(t), "components", "schemas")))
	if diff := cmp.Diff(names, documented); diff != "" {
		t.Errorf("types (-Go +documented):\n%s", diff)
	}
}

func TestDocumentHoldsEveryField(t *testing.T) {
	doc := readDocument(t)
	for _, typ := range jsonTypes() {
		t.Run(typ.Name(), func(t *testing.T) {
			schema := at(t, doc, "components", "schemas", typ.Name())
			documented := map[string]string{}
			for name, property := range at(t, schema, "properties") {
				documented[name] = shape(t, at(t, property))
			}
			fields, required := goFields(t, typ)
			if diff := cmp.Diff(fields, documented); diff != "" {
				t.Errorf("properties (-Go +documented):\n%s", diff)
			}
			var says []string
			for _, name := range schema["required"].([]any) {
				says = append(says, name.(string))
			}
			slices.Sort(required)
			slices.Sort(says)
			if diff := cmp.Diff(required, says); diff != "" {
				t.Errorf("required (-Go +documented):\n%s", diff)
			}
		})
	}
}

// shape tells the type of a property in the words of goShape.
func shape(t *testing.T, property object) string {
	t.Helper()
	if ref, ok := property["$ref"].(string); ok {
		return ref[strings.LastIndex(ref, "/")+1:]
	}
	if either, ok := property["oneOf"].([]any); ok {
		var shapes []string
		for _, node := range either {
			shapes = append(shapes, shape(t, at(t, node)))
		}
		return strings.Join(shapes, " or ")
	}
	switch kind := fmt.Sprint(property["type"]); kind {
	case "array":
		return "array of " + shape(t, at(t, property, "items"))
	case "object":
		if property["additionalProperties"] == true {
			return "any object"
		}
		return "map of " + shape(t, at(t, property, "additionalProperties"))
	default:
		return kind
	}
}

func goFields(t *testing.T, typ reflect.Type) (fields map[string]string, required []string) {
	t.Helper()
	fields = map[string]string{}
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			t.Fatalf("%s.%s has no JSON name", typ, f.Name)
		}
		fields[name] = goShape(t, f.Type)
		if options == "omitempty" && f.Type.Kind() == reflect.Pointer {
			fields[name] = goShape(t, f.Type.Elem()) // nil is left out, and no null
		}
		if options != "omitempty" {
			required = append(required, name)
		}
	}
	return fields, required
}

func goShape(t *testing.T, typ reflect.Type) string {
	t.Helper()
	if typ == reflect.TypeFor[json.RawMessage]() {
		return "any object"
	}
	if typ == reflect.TypeFor[time.Time]() {
		return "string"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return goShape(t, typ.Elem()) + " or null"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array of " + goShape(t, typ.Elem())
	case reflect.Map:
		return "map of " + goShape(t, typ.Elem())
	case reflect.Struct:
		return typ.Name()
	}
	t.Fatalf("no shape for %s", typ)
	return ""
}

// Where the document lists the states of a flow, it lists all of them.
func TestDocumentHoldsEveryFlowState(t *testing.T) {
	doc := readDocument(t)
	for _, path := range [][]string{
		{"components", "parameters", "flowState", "schema"},
		{"components", "schemas", "Flow", "properties", "state"},
	} {
		var listed []string
		for _, state := range at(t, doc, path...)["enum"].([]any) {
			listed = append(listed, state.(string))
		}
		if diff := cmp.Diff(FlowStates(), listed); diff != "" {
			t.Errorf("%s (-Go +documented):\n%s", strings.Join(path, " / "), diff)
		}
	}
}
