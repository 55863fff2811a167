package frames

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// short are frames with two octets of length, of which eight are kept.
var short = Format{
	Prefix: 2, Keep: 8, Most: 1000,
	Size: func(b []byte) int64 { return int64(int16(binary.BigEndian.Uint16(b))) },
}

func frame(body string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(body)))) + body
}

// read tells the frames of b, in pieces as long as next says, the i-th at time i+1;
// holed says which octets were not copied.
func read(s *Stream, b string, next func() int, holed func(at int) bool) (told []string) {
	ended := func() {
		if s.Whole() {
			told = append(told, fmt.Sprintf("%q %d", s.Body(), s.Octets))
			s.Reset()
		}
	}
	for at := 0; at < len(b); {
		piece := min(next(), len(b)-at)
		if holed(at) {
			if !s.Skip(1) {
				return append(told, "lost")
			}
			at++
			ended()
			continue
		}
		for i := range piece {
			if holed(at + i) {
				piece = i
				break
			}
		}
		n, ok := s.Take([]byte(b[at:at+piece]), int64(at+1))
		if !ok {
			return append(told, "lost")
		}
		if n == 0 {
			return append(told, "stuck")
		}
		at += n
		ended()
	}
	return told
}

func whole(int) bool { return false }

const said = "abc"

func TestHoweverItIsCut(t *testing.T) {
	b := frame("") + frame(said) + frame("0123456789") + frame("") + frame("x")
	want := []string{`"" 2`, `"abc" 5`, `"012345" 12`, `"" 2`, `"x" 3`}
	for size := 1; size <= len(b); size++ {
		s := Stream{Format: &short}
		if got := read(&s, b, func() int { return size }, whole); !slices.Equal(got, want) || s.Began() {
			t.Errorf("pieces of %d: %q, want %q", size, got, want)
		}
	}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := Stream{Format: &short}
		if got := read(&s, b, func() int { return 1 + r.IntN(9) }, whole); !slices.Equal(got, want) {
			t.Errorf("seed %d: %q, want %q", seed, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	s := Stream{Format: &short}
	b := []byte(frame(said) + "\x00")
	for i, want := range []int64{10, 10, 10, 10, 10, 15} {
		if n, ok := s.Take(b[i:i+1], int64(10+i)); n != 1 || !ok || s.First != want {
			t.Fatalf("octet %d: %d taken (%v), begun at %d, want %d", i, n, ok, s.First, want)
		}
		if s.Whole() {
			if i != 4 || s.Octets != 5 {
				t.Errorf("ended at octet %d, of %d", i, s.Octets)
			}
			s.Reset()
			if s.First != 10 || s.Octets != 5 {
				t.Error("the time and size of a frame do not outlive it")
			}
		}
	}
	if s.Octets != 1 || !s.Began() || s.Sized() {
		t.Errorf("the next has %d octets", s.Octets)
	}
}

func TestHoles(t *testing.T) {
	b := frame("0123456789") + frame(said)
	for _, c := range []struct {
		from, to int
		want     []string
	}{
		{0, 1, []string{"lost"}}, {1, 2, []string{"lost"}},
		{2, 12, []string{`"" 12`, `"abc" 5`}},
		{4, 6, []string{`"01" 12`, `"abc" 5`}}, // what comes behind it is no more of the head
		{8, 9, []string{`"012345" 12`, `"abc" 5`}},
		{11, 12, []string{`"012345" 12`, `"abc" 5`}},
		{11, 13, []string{`"012345" 12`, "lost"}},
		{14, 17, []string{`"012345" 12`, `"" 5`}},
	} {
		s := Stream{Format: &short}
		got := read(&s, b, func() int { return 5 }, func(at int) bool { return at >= c.from && at < c.to })
		if !slices.Equal(got, c.want) {
			t.Errorf("a hole from %d to %d: %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

func TestSkip(t *testing.T) {
	s := Stream{Format: &short}
	if s.Skip(1) {
		t.Error("a hole before the first frame is within it")
	}
	s.Take([]byte(frame("0123456789")[:4]), 1)
	for _, n := range []int64{-1, 9, 1 << 40} {
		if s.Skip(n) || s.Torn || s.left != 8 || s.Octets != 4 {
			t.Errorf("%d octets, of which there are 8: %+v", n, s)
		}
	}
	if !s.Skip(8) || !s.Torn || !s.Whole() || s.Octets != 12 {
		t.Errorf("all the rest: %+v", s)
	}
}

// TestTorn has holes before and behind the end of what is kept.
func TestTorn(t *testing.T) {
	for kept, want := range map[int]bool{0: true, 5: true, 6: false, 9: false} {
		s := Stream{Format: &short}
		s.Take([]byte(frame("0123456789")[:2+kept]), 1)
		if s.Tear(); s.Torn != want {
			t.Errorf("a hole behind %d octets of the body: torn %v, want %v", kept, s.Torn, want)
		}
	}
}

func TestBounds(t *testing.T) {
	long := Format{Prefix: 1, Keep: 4, Least: 2, Most: 5, Size: func(b []byte) int64 { return int64(int8(b[0])) }}
	for size, want := range map[byte]bool{0: false, 1: false, 2: true, 5: true, 6: false, 0xff: false} {
		s := Stream{Format: &long}
		if n, ok := s.Take([]byte{size, 'a'}, 1); ok != want || !ok && n != 1 {
			t.Errorf("%d octets: %v (%d taken), want %v", size, ok, n, want)
		}
	}
	s := Stream{Format: &short}
	for range 1000 {
		read(&s, strings.Repeat(frame(strings.Repeat("x", 1000)), 3), func() int { return 700 }, whole)
	}
	if cap(s.Head) != short.Keep {
		t.Errorf("%d octets are kept, want %d", cap(s.Head), short.Keep)
	}
}

// TestAllocations: one for the head, ever.
func TestAllocations(t *testing.T) {
	s := Stream{Format: &short}
	b := []byte(frame("") + frame(said) + frame("0123456789"))
	talk := func() {
		for left := b; len(left) > 0; {
			n, _ := s.Take(left[:min(4, len(left))], 1)
			left = left[n:]
			if s.Whole() {
				s.Reset()
			}
		}
		s.Take(b[7:10], 1) // a length, and the first octet
		if !s.Skip(9) {
			t.Fatal("no hole in a frame")
		}
		s.Reset()
	}
	talk()
	if n := testing.AllocsPerRun(100, talk); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzStream checks each against a reader that has all octets at once.
func FuzzStream(f *testing.F) {
	f.Add([]byte(frame(said)+frame("0123456789")+frame("")), uint8(3))
	f.Add([]byte("\xff\xff\x00"), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		var want []string
		for rest := b; len(rest) >= 2; {
			n := int(int16(binary.BigEndian.Uint16(rest)))
			if n < 0 || n > 1000 {
				want = append(want, "lost")
				break
			}
			if len(rest) < 2+n {
				break
			}
			want = append(want, fmt.Sprintf("%q %d", rest[2:2+min(n, 6)], 2+n))
			rest = rest[2+n:]
		}
		s := Stream{Format: &short}
		if got := read(&s, string(b), func() int { return int(size) + 1 }, whole); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
