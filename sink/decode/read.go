package decode

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Read calls f for each row of the given measurements, or of all where none is
// given, in the order of the stream. The row is f's to keep. A last line without
// its end is a row not written yet, and left out.
func Read(r io.Reader, f func(*Row) error, measurements ...string) error {
	in := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read rows: %w", err)
		}
		if !wanted(line, measurements) {
			continue
		}
		row, err := Parse(line)
		if err != nil {
			return fmt.Errorf("read rows: line %d: %w", n, err)
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

// wanted says whether a line is a row of one of the measurements.
func wanted(line []byte, measurements []string) bool {
	name, _, found := bytes.Cut(line, []byte(","))
	return found && (len(measurements) == 0 || slices.Contains(measurements, string(name)))
}
