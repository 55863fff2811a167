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

	"github.com/weir-probe/weir/cmd/weir/internal/selftest"
)

func main() {
	if selftest.IsWorker(os.Args) {
		os.Exit(selftest.Work())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
}

// errQuiet is an exit status when everything has been said already.
var errQuiet = errors.New("")

// statusError is an error with an exit status of its own; that of others is 1.
type statusError struct {
	status int
	error
}

func (e *statusError) Unwrap() error { return e.error }

// withStatus returns nil for a nil error.
func withStatus(status int, err error) error {
	if err == nil {
		return nil
	}
	return &statusError{status, err}
}

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
		return statusOf(err)
	}
	return 0
}

// statusOf is the exit status of an error.
func statusOf(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	return 1
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
	root.AddCommand(runCommand(e), replayCommand(e), explainCommand(e), doctorCommand(e), setupCommand(e), selftestCommand(e), healthCommand(e), versionCommand(e))
	return root
}
