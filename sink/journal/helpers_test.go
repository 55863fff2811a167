package journal_test

import (
	"io"
	"log/slog"
	"time"
)

var (
	zero  = time.Unix(0, 1)
	never = time.Unix(1<<33, 0)
)

func nowOf(t *time.Time) func() time.Time { return func() time.Time { return *t } }

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
