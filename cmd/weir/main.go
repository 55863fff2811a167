// Command weir attributes every network flow of a Linux host to the process,
// container and pod behind it and writes the result to InfluxDB.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], env{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
}

// errQuiet makes the exit status 1 when everything has been said already.
var errQuiet = errors.New("")

func run(ctx context.Context, args []string, e env) int {
	root := newRoot(e)
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errQuiet) {
			fmt.Fprintln(e.stderr, "weir:", err)
			if strings.HasPrefix(err.Error(), "unknown command") {
				fmt.Fprintln(e.stderr, "see `weir --help`")
			}
		}
		return 1
	}
	return 0
}

func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:           "weir",
		Short:         "Every network flow of this host, with the process and container behind each end",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(runCommand(e), replayCommand(e), doctorCommand(e), healthCommand(e), versionCommand(e))
	return root
}
