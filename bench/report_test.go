package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReportRoundTrip(t *testing.T) {
	r := sampleReport()
	r.Started = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	r.Finished = r.Started.Add(90 * time.Second)
	dir := filepath.Join(t.TempDir(), "bench", "results")
	path, err := r.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "20260304-050607.json"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, got); diff != "" {
		t.Errorf("report changed on its way (-saved +loaded):\n%s", diff)
	}
	if _, err := r.Save(dir); err == nil {
		t.Error("a second report of the same second overwrote the first")
	}
}

// Others read the file: its keys stay.
func TestReportKeys(t *testing.T) {
	data, err := json.Marshal(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{
		`"format":1`, `"machine":{"system":"Linux 6.18 x86_64"`, `"versions":{"weft":"v0.1.0","go":"go1.26"}`,
		`"missing":"no weft binary was given"`,
		`{"round":1,"scenario":"tcp1","peer":"bridge","value":10,"details":[{"name":"twice","unit":"x","value":20}]}`,
		`"error":"weft ended"`, `"ratio":{"median":`, `"reached":true`, `"absolute":true`, `"value":null`,
	} {
		if !strings.Contains(string(data), key) {
			t.Errorf("no %s in %s", key, data)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"newer.json":  {`{"format": 2}`, "format 2, this version reads 1"},
		"broken.json": {`{"format": 1`, "unexpected end"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v, want one with %q and the name", name, err, c.want)
		}
	}
	if _, err := Load(filepath.Join(dir, "absent.json")); err == nil {
		t.Error("loaded a file that is not there")
	}
}
