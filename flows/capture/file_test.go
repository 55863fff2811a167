package capture

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/packet"
)

// readAll returns copies of all packets and the error that ended the file.
func readAll(t testing.TB, s Source) ([]Packet, error) {
	t.Helper()
	batch := make([]Packet, 7)
	var all []Packet
	for {
		n, err := s.ReadBatch(context.Background(), batch)
		for _, p := range batch[:n] {
			p.Data = slices.Clone(p.Data)
			all = append(all, p)
		}
		if err != nil {
			return all, err
		}
	}
}

func openBytes(t testing.TB, data []byte, c FileConfig) *File {
	t.Helper()
	f, err := NewFile(bytes.NewReader(data), "test.pcap", c)
	must(t, err)
	return f
}

func TestFileFormatsAgree(t *testing.T) {
	plain := craftOutOfOrder(t)
	want, err := readAll(t, openBytes(t, plain, FileConfig{}))
	if err != io.EOF || len(want) != 8 {
		t.Fatalf("%d packets, error %v; want 8, io.EOF", len(want), err)
	}
	if want[0].Time != craftStart.UnixNano() || want[0].Link != packet.LinkEthernet || want[0].Wire != len(want[0].Data) {
		t.Errorf("first packet = %+v", want[0])
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(plain)
	must(t, z.Close())

	for name, data := range map[string][]byte{"gzip": zipped.Bytes(), "big endian": bigEndian(plain)} {
		got, err := readAll(t, openBytes(t, data, FileConfig{}))
		if err != io.EOF || len(got) != len(want) {
			t.Errorf("%s: %d packets, error %v", name, len(got), err)
			continue
		}
		for i := range got {
			if got[i].Time != want[i].Time || !bytes.Equal(got[i].Data, want[i].Data) {
				t.Errorf("%s: packet %d differs", name, i)
			}
		}
	}
}

// bigEndian turns the headers of a little-endian pcap around.
func bigEndian(le []byte) []byte {
	b := slices.Clone(le)
	turn := func(off, size int) { slices.Reverse(b[off : off+size]) }
	for _, f := range [][2]int{{0, 4}, {4, 2}, {6, 2}, {8, 4}, {12, 4}, {16, 4}, {20, 4}} {
		turn(f[0], f[1])
	}
	for off := 24; off < len(b); {
		size := int(binary.LittleEndian.Uint32(b[off+8:]))
		for i := range 4 {
			turn(off+4*i, 4)
		}
		off += 16 + size
	}
	return b
}

func TestCaseK4_OutOfOrder(t *testing.T) {
	data := craftOutOfOrder(t)
	sorted, _ := readAll(t, openBytes(t, data, FileConfig{}))
	if !slices.IsSortedFunc(sorted, func(a, b Packet) int { return int(a.Time - b.Time) }) {
		t.Error("packets are not in the order of time")
	}
	unsorted := openBytes(t, data, FileConfig{Window: 1})
	if _, err := readAll(t, unsorted); err != io.EOF {
		t.Fatal(err)
	}
	if got := unsorted.Stats().Unordered; got == 0 {
		t.Error("a window of one counts no packet out of order")
	}
}

func TestCaseK3_Truncated(t *testing.T) {
	whole := craftPortReuse(t)
	ng := craftMultiInterface(t)
	for _, test := range []struct {
		name    string
		data    []byte
		window  int
		packets int
	}{
		{"in the packet", whole[:24+16+60+16+30], 0, 1},
		{"behind the record header", whole[:24+16+60+16], 0, 1},
		{"in the record header", whole[:24+16+60+7], 0, 1},
		{"nothing sorted", whole[:24+16+60+16+30], 1, 1},
		{"pcapng", ng[:len(ng)-10], 0, 23},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readAll(t, openBytes(t, test.data, FileConfig{Window: test.window}))
			if !errors.Is(err, ErrTruncated) {
				t.Fatalf("error %v, want ErrTruncated", err)
			}
			if len(got) != test.packets {
				t.Errorf("%d packets before the cut, want %d", len(got), test.packets)
			}
			var fe *FileError
			if !errors.As(err, &fe) || fe.Packet != uint64(test.packets)+1 || fe.Path != "test.pcap" || fe.Offset == 0 {
				t.Errorf("error is %#v, want the file, packet %d and its offset", fe, test.packets+1)
			}
			if test.name == "in the packet" && fe.Offset != 24+16+60 {
				t.Errorf("offset %d, want %d", fe.Offset, 24+16+60)
			}
		})
	}
}

func TestTruncatedGzip(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(craftPortReuse(t))
	must(t, z.Close())
	got, err := readAll(t, openBytes(t, zipped.Bytes()[:zipped.Len()-20], FileConfig{}))
	if !errors.Is(err, ErrTruncated) || len(got) == 0 {
		t.Errorf("%d packets, error %v; want some and ErrTruncated", len(got), err)
	}
}

func TestNotACapture(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "short": "ab", "text": "this is not a capture file at all",
		"gzip of text": gzipped(t, "neither is this"), "broken gzip": "\x1f\x8b\x00",
	} {
		path := filepath.Join(t.TempDir(), "x.pcap")
		must(t, os.WriteFile(path, []byte(content), 0o644))
		_, err := OpenFile(path, FileConfig{})
		if !errors.Is(err, ErrNotCapture) {
			t.Errorf("%s: error %v, want ErrNotCapture", name, err)
			continue
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "want pcap or pcapng") {
			t.Errorf("%s: error %q does not say the file and what to give", name, err)
		}
	}
	if _, err := OpenFile("/nonexistent/x.pcap", FileConfig{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: error %v, want os.ErrNotExist", err)
	}
	if _, err := NewFile(bytes.NewReader(craftDNS(t)[:20]), "x", FileConfig{}); !errors.Is(err, ErrTruncated) {
		t.Errorf("cut in the file header: error %v, want ErrTruncated", err)
	}
}

func gzipped(t *testing.T, s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	must(t, z.Close())
	return b.String()
}

// A length field that lies must neither hang the reader nor make it allocate.
func TestCorruptLengths(t *testing.T) {
	pcap, ng := craftPortReuse(t), craftMultiInterface(t)
	huge := []uint32{0, 1, 3, 0x7fffffff, 0xfffffffc, 0xffffffff, 0x10000000}
	for _, length := range huge {
		for _, at := range []struct {
			data   []byte
			offset int
		}{{pcap, 24 + 8}, {pcap, 24 + 12}, {ng, 4}, {ng, 8 + 4}} {
			data := slices.Clone(at.data)
			binary.LittleEndian.PutUint32(data[at.offset:], length)
			checkHostile(t, data)
		}
	}
	// Every 32-bit word of the files in turn.
	for _, whole := range [][]byte{pcap, ng} {
		for off := 0; off+4 <= min(len(whole), 600); off += 4 {
			data := slices.Clone(whole)
			binary.LittleEndian.PutUint32(data[off:], 0xfffffff0)
			checkHostile(t, data)
		}
	}
}

// checkHostile reads data to its end and checks that it ends, in an error of the
// three kinds or cleanly, within bounded memory.
func checkHostile(t testing.TB, data []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := NewFile(bytes.NewReader(data), "x", FileConfig{Window: 4})
	if err == nil {
		batch := make([]Packet, 16)
		packets := 0
		for err == nil {
			var n int
			n, err = f.ReadBatch(context.Background(), batch)
			if packets += n; packets > len(data) {
				t.Fatalf("%d octets gave more than %d packets", len(data), packets)
			}
		}
	}
	if err != io.EOF && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotCapture) {
		t.Fatalf("error %v is none of the documented ones", err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Fatalf("%d octets of file made the reader allocate %d", len(data), used)
	}
}

func FuzzFile(f *testing.F) {
	for _, craft := range crafted {
		f.Add(craft(f))
	}
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) { checkHostile(t, data) })
}

func TestReadBatchDoesNotAllocate(t *testing.T) {
	one := craftPortReuse(t)
	data := slices.Clone(one[:24])
	for len(data) < 1<<20 {
		data = append(data, one[24:]...)
	}
	f := openBytes(t, data, FileConfig{Window: 64})
	batch := make([]Packet, 32)
	read := func() {
		if _, err := f.ReadBatch(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		read() // fills the window and the first slots
	}
	if n := testing.AllocsPerRun(100, read); n > 0 {
		t.Errorf("a batch of 32 packets costs %v allocations, want none", n)
	}
}

func TestConfigValidate(t *testing.T) {
	for _, valid := range []interface{ Validate() error }{FileConfig{}, DefaultFileConfig(), LiveConfig{}, DefaultLiveConfig(), MeteredConfig{}} {
		if err := valid.Validate(); err != nil {
			t.Errorf("%T: %v", valid, err)
		}
	}
	for _, invalid := range []interface{ Validate() error }{
		FileConfig{Window: -1}, FileConfig{Snaplen: 10}, LiveConfig{Snaplen: 10}, LiveConfig{RingBytes: 5},
		LiveConfig{Interfaces: []string{"["}}, MeteredConfig{Batch: -1},
	} {
		if invalid.Validate() == nil {
			t.Errorf("%+v is accepted", invalid)
		}
	}
}
