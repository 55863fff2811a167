package main

import (
	"log/slog"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-probe/weir/cmd/weir/internal/telemetry"
)

// flagSet remembers which flags were given, in their order.
type flagSet struct {
	file   string
	values []given
}

// bindFlags gives cmd --config and a flag for every setting, or for those named.
func bindFlags(cmd *cobra.Command, names ...string) *flagSet {
	f := &flagSet{}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.file, "config", "", "YAML file (default "+defaultConfigFile+", if it is there)")
	for _, s := range settings {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		fs.Var(&flagValue{f, s.name}, s.name, s.usage)
	}
	return f
}

func (f *flagSet) given(name string) bool {
	for _, v := range f.values {
		if v.name == name {
			return true
		}
	}
	return false
}

func (f *flagSet) load(e env) (Config, error) { return loadConfig(f.file, f.values, e.environ) }

// flagValue only records: parsing happens once, for flags and environment alike.
type flagValue struct {
	f    *flagSet
	name string
}

var _ pflag.Value = (*flagValue)(nil)

func (v *flagValue) String() string { return "" }
func (v *flagValue) Type() string   { return "value" }
func (v *flagValue) Set(s string) error {
	v.f.values = append(v.f.values, given{v.name, s})
	return nil
}

func newLog(cfg *Config, e env) *slog.Logger {
	return telemetry.NewLog(e.stderr, cfg.LogLevel, cfg.LogFormat)
}
