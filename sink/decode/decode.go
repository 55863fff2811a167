// Package decode reads rows back from line protocol, as the schema knows them.
// Lines may come from a file that anybody wrote.
package decode

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/weir-probe/weir/sink"
)

// Row is one row of any measurement.
type Row struct {
	Measurement string            `json:"measurement"`
	Time        int64             `json:"time"` // unix ns
	Tags        map[string]string `json:"tags"`
	Fields      map[string]any    `json:"fields"` // string, int64, float64 or bool, as the schema says
}

// Text is a string field, empty where it is absent.
func (r *Row) Text(name string) string { s, _ := r.Fields[name].(string); return s }

// Int is an integer field, 0 where it is absent.
func (r *Row) Int(name string) int64 { n, _ := r.Fields[name].(int64); return n }

// Has says whether a field is there.
func (r *Row) Has(name string) bool { _, ok := r.Fields[name]; return ok }

// maxNames bounds tags and fields of a line: the widest row of the schema has
// about a hundred.
const maxNames = 512

// Parse reads one line. A field that the schema does not have, or has with
// another type, is left out.
func Parse(line []byte) (*Row, error) {
	d := lineprotocol.NewDecoderWithBytes(line)
	if !d.Next() {
		return nil, errors.New("parse row: the line is empty")
	}
	m, err := d.Measurement()
	if err != nil {
		return nil, fmt.Errorf("parse row: %w", err)
	}
	r := &Row{Measurement: string(m), Tags: map[string]string{}, Fields: map[string]any{}}
	for n := 0; ; n++ {
		k, v, err := d.NextTag()
		if err != nil || n > maxNames {
			return nil, fmt.Errorf("parse row: tags: %w", orMany(err))
		}
		if k == nil {
			break
		}
		r.Tags[string(k)] = string(v)
	}
	types := schema()[r.Measurement]
	for n := 0; ; n++ {
		k, v, err := d.NextField()
		if err != nil || n > maxNames {
			return nil, fmt.Errorf("parse row: fields: %w", orMany(err))
		}
		if k == nil {
			break
		}
		if kind, ok := types[string(k)]; ok && kind == v.Kind() {
			r.Fields[string(k)] = v.Interface()
		}
	}
	at, err := d.TimeBytes()
	if err != nil {
		return nil, fmt.Errorf("parse row: time: %w", err)
	}
	if r.Time, err = strconv.ParseInt(string(at), 10, 64); err != nil {
		return nil, fmt.Errorf("parse row: %.20q is not a time", at)
	}
	return r, nil
}

func orMany(err error) error {
	if err == nil {
		return fmt.Errorf("more than %d", maxNames)
	}
	return err
}

// schema is the type of each field by measurement and name.
var schema = sync.OnceValue(func() map[string]map[string]lineprotocol.ValueKind {
	kinds := map[sink.Type]lineprotocol.ValueKind{
		sink.Int: lineprotocol.Int, sink.Float: lineprotocol.Float, sink.String: lineprotocol.String, sink.Bool: lineprotocol.Bool,
	}
	all := map[string]map[string]lineprotocol.ValueKind{}
	for _, m := range sink.Measurements() {
		all[m.Name] = map[string]lineprotocol.ValueKind{}
		for _, f := range m.Fields {
			all[m.Name][f.Name] = kinds[f.Type]
		}
	}
	return all
})
