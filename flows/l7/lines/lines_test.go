package lines

import (
	"strings"
	"testing"
)

func TestTake(t *testing.T) {
	for _, c := range []struct {
		text string
		line string
		size int
	}{
		{"abc\r\n", "abc", 5},
		{"abc\n", "abc", 4},
		{"\r\n", "", 2},
		{"0123456\r\n", "0123456", 9},
		{"01234567\r\n", "01234567", 10},
		{"0123456789\r\n", "01234567", 12},
	} {
		for cut := range len(c.text) {
			l := Line{Max: 8}
			if n, _, _, ended := l.Take([]byte(c.text[:cut])); ended || n != cut {
				t.Fatalf("%q: the first %d octets end the line", c.text, cut)
			}
			n, line, size, ended := l.Take([]byte(c.text[cut:] + "next"))
			if !ended || n != len(c.text)-cut || size != c.size || strings.TrimRight(string(line), "\r") != c.line {
				t.Errorf("%q cut at %d: %q, %d octets taken, %d in all", c.text, cut, line, n, size)
			}
			if l.Began() {
				t.Errorf("%q: something is left", c.text)
			}
		}
	}
}

func TestWord(t *testing.T) {
	for line, want := range map[string][2]string{
		"": {"", ""}, "a": {"a", ""}, "a b c": {"a", "b c"}, "  a\t b": {"a", "b"}, "a ": {"a", ""},
	} {
		word, rest := Word([]byte(line))
		if string(word) != want[0] || string(rest) != want[1] {
			t.Errorf("Word(%q) = %q, %q; want %q", line, word, rest, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "42": 42, "999999999999999": 999999999999999, "": -1, "-1": -1, "1x": -1, "1000000000000000": -1,
	} {
		n, ok := Number([]byte(text))
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("Number(%q) = %d, %v", text, n, ok)
		}
	}
}
