package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

func (c *Config) readFile(file string, environ []string) error {
	explicit := file != ""
	if !explicit {
		file = lookup(environ, "WEIR_CONFIG")
		explicit = file != ""
	}
	if !explicit {
		file = defaultConfigFile
	}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist) && !explicit:
		return nil
	case err != nil:
		return fmt.Errorf("read configuration: %w (give another file with --config)", err)
	}
	dir := c.Journal.Dir
	c.Journal.Dir = "\x00"
	if err := decodeYAML(data, c); err != nil {
		return fmt.Errorf("configuration %s: %w", file, err)
	}
	if c.Journal.explicit = c.Journal.Dir != "\x00"; !c.Journal.explicit {
		c.Journal.Dir = dir
	}
	c.file = file
	return nil
}

// secretKey finds the keys under which people look for a place for a secret.
var secretKey = regexp.MustCompile(`unknown field "[^"]*(token|password)[^"]*"`)

// decodeYAML reads data over c. Its errors never quote the file, which may hold
// what has no business there.
func decodeYAML(data []byte, c *Config) error {
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return errors.New(yaml.FormatError(err, false, false))
	}
	empty := true
	for _, d := range f.Docs {
		empty = empty && d.Body == nil
	}
	if empty { // the decoder would reset c
		return nil
	}
	err = yaml.UnmarshalWithOptions(data, c, yaml.Strict())
	if err == nil {
		return nil
	}
	text := yaml.FormatError(err, false, false)
	switch {
	case secretKey.MatchString(text):
		return errors.New(text + ": a secret does not stand in the file; name its file with influxdb.token_file, or set WEIR_INFLUXDB_TOKEN or WEIR_INFLUXDB_PASSWORD")
	case strings.Contains(text, "unknown field"):
		return errors.New(text + ": remove it or correct its name")
	case strings.Contains(text, "uration"):
		return errors.New(text + ": a duration is written like 10s or 5m")
	}
	return errors.New(text)
}
