package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/weir-probe/weir/bpf"
)

// version and commit are set by the Makefile with -ldflags -X.
var (
	version = "0.1.0-dev"
	commit  = ""
)

func commitID() string {
	if commit != "" {
		return commit
	}
	if bi, ok := debug.ReadBuildInfo(); ok {
		for _, s := range bi.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

func versionCommand(e env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Version, commit and the hashes of the BPF objects inside",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintf(e.stdout, "weir %s\ncommit %s\n%s %s/%s\n", version, commitID(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			for _, o := range bpf.Objects() {
				fmt.Fprintf(e.stdout, "bpf %-8s sha256:%s\n", o.Name, o.SHA256)
			}
			return nil
		},
	}
}
