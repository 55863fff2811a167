package ranges

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"unicode"
)

// cloud is the union of the lists that providers publish.
//
//	AWS     https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html
//	Google  https://www.gstatic.com/ipranges/cloud.json
//	Azure   ServiceTags_Public_*.json
type cloud struct {
	Prefixes []struct {
		AWS4    string `json:"ip_prefix"`
		Google4 string `json:"ipv4Prefix"`
		Google6 string `json:"ipv6Prefix"`
		Region  string `json:"region"`
		Service string `json:"service"`
		Scope   string `json:"scope"`
	} `json:"prefixes"`
	Prefixes6 []struct {
		Prefix  string `json:"ipv6_prefix"`
		Region  string `json:"region"`
		Service string `json:"service"`
	} `json:"ipv6_prefixes"`
	Values []struct {
		Name       string `json:"name"`
		Properties struct {
			Prefixes []string `json:"addressPrefixes"`
		} `json:"properties"`
	} `json:"values"`
}

// parse hands every network of a list and its name to add; of equal networks the
// last is the most specific.
func parse(r io.Reader, add func(netip.Prefix, string) error) error {
	b := bufio.NewReader(r)
	for {
		c, _, err := b.ReadRune()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !unicode.IsSpace(c) && c != '\ufeff' {
			if err := b.UnreadRune(); err != nil {
				return err
			}
			if c == '{' {
				return parseCloud(b, add)
			}
			return parseLines(b, add)
		}
	}
}

func parseCloud(r io.Reader, add func(netip.Prefix, string) error) error {
	var c cloud
	if err := json.NewDecoder(r).Decode(&c); err != nil {
		return fmt.Errorf("not the JSON of a provider: %w", err)
	}
	put := func(prefix, name string) error {
		p, err := netip.ParsePrefix(prefix)
		if err != nil {
			return fmt.Errorf("%q is not a network", prefix)
		}
		return add(p, name)
	}
	// AWS lists what is also somebody's as AMAZON, too: that first.
	for _, whole := range []bool{true, false} {
		for _, p := range c.Prefixes {
			var err error
			switch {
			case p.AWS4 != "" && (p.Service == "AMAZON") == whole:
				err = put(p.AWS4, aws(p.Service, p.Region))
			case p.Google4+p.Google6 != "" && whole:
				err = put(p.Google4+p.Google6, google(p.Scope))
			}
			if err != nil {
				return err
			}
		}
		for _, p := range c.Prefixes6 {
			if (p.Service == "AMAZON") != whole {
				continue
			}
			if err := put(p.Prefix, aws(p.Service, p.Region)); err != nil {
				return err
			}
		}
	}
	// Azure: the region's list has what the services' lists have.
	for _, whole := range []bool{true, false} {
		for _, v := range c.Values {
			if strings.HasPrefix(v.Name, "AzureCloud") != whole {
				continue
			}
			for _, p := range v.Properties.Prefixes {
				if err := put(p, azure(v.Name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func aws(service, region string) string {
	return strings.ToLower("aws/" + service + "/" + region)
}

func google(scope string) string {
	if scope == "" {
		return "google"
	}
	return strings.ToLower("gcp/" + scope)
}

func azure(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "AzureCloud"), ".")
	if name == "" {
		return "azure"
	}
	return strings.ToLower("azure/" + name)
}

// parseLines reads "CIDR name", also with a comma or a tab between; # begins a
// comment. An address alone is a network of one.
func parseLines(r io.Reader, add func(netip.Prefix, string) error) error {
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		line, _, _ := bytes.Cut(s.Bytes(), []byte("#"))
		text := strings.TrimSpace(string(line))
		if text == "" {
			continue
		}
		i := strings.IndexAny(text, " \t,;")
		if i < 0 {
			return fmt.Errorf("line %d: %q has no name", n, clip(text))
		}
		name := strings.Trim(text[i:], " \t,;\"")
		p, err := netip.ParsePrefix(text[:i])
		if a, e := netip.ParseAddr(text[:i]); e == nil {
			p, err = netip.PrefixFrom(a.WithZone(""), a.BitLen()), nil
		}
		if err != nil || name == "" {
			return fmt.Errorf("line %d: %q is not a network and its name, like 192.0.2.0/24 office", n, clip(text))
		}
		if err := add(p, name); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}

func clip(s string) string { return s[:min(len(s), 60)] }
