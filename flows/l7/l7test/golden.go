package l7test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-probe/weir/flows/l7"
)

var update = flag.Bool("update", false, "write the golden files of testdata")

// Form is how golden files are written.
type Form struct {
	suffix string
	write  func(b *bytes.Buffer, connection int, told []Message) error
}

// Text has the lines of rules under a heading for each connection; JSON an object a
// line, with every field that a message has.
var (
	Text = Form{".golden.txt", func(b *bytes.Buffer, connection int, told []Message) error {
		fmt.Fprintf(b, "# connection %d\n", connection)
		for _, m := range told {
			fmt.Fprintln(b, m)
		}
		return nil
	}}
	JSON = Form{".golden.jsonl", func(b *bytes.Buffer, _ int, told []Message) error {
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		for _, m := range told {
			if err := e.Encode(m); err != nil {
				return err
			}
		}
		return nil
	}}
)

// Golden compares what spec tells of each capture in testdata with the golden file
// beside it, or writes it with -update, and checks the properties of each connection.
func Golden(t *testing.T, spec l7.Spec, form Form, traits ...Trait) {
	for path, connections := range Captures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var b bytes.Buffer
			for i, chunks := range connections {
				if err := form.write(&b, i+1, Run(spec, chunks)); err != nil {
					t.Fatal(err)
				}
			}
			golden := strings.TrimSuffix(path, ".pcap") + form.suffix
			if *update {
				if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("messages (-golden +now):\n%s", diff)
			}
			for i, chunks := range connections {
				t.Run(fmt.Sprint(i+1), func(t *testing.T) { Properties(t, spec, chunks, traits...) })
			}
		})
	}
}

// MatchCaptures checks that spec recognises each connection of the captures in
// testdata by a Yes of one of its turns.
func MatchCaptures(t *testing.T, spec l7.Spec) {
	for path, connections := range Captures(t) {
		for i, chunks := range connections {
			yes := false
			for _, c := range chunks {
				yes = yes || c.Turn && spec.Match(c.Dir, c.Data) == l7.Yes
			}
			if !yes {
				t.Errorf("%s, connection %d: no turn is recognised", path, i+1)
			}
		}
	}
}
