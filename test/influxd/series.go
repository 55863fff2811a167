package influxd

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Series asks the server how many series (tag sets) a measurement has, "" for all of
// the database.
func (s *Server) Series(t testing.TB, db, measurement string) int {
	t.Helper()
	if !s.V1() {
		return s.cardinality(t, db, measurement)
	}
	q := `SHOW SERIES EXACT CARDINALITY`
	if measurement != "" {
		q += fmt.Sprintf(` FROM %q`, measurement)
	}
	n := 0
	for _, r := range s.QueryInfluxQL(t, db, q) {
		v, _ := r.Values["count"].(json.Number)
		i, _ := v.Int64()
		n += int(i)
	}
	return n
}

func (s *Server) cardinality(t testing.TB, bucket, measurement string) int {
	t.Helper()
	where := ""
	if measurement != "" {
		where = fmt.Sprintf(", predicate: (r) => r._measurement == %q", measurement)
	}
	q := fmt.Sprintf("import \"influxdata/influxdb\"\ninfluxdb.cardinality(bucket: %q, start: -30d%s)", bucket, where)
	rows := s.QueryFlux(t, q)
	if len(rows) == 0 {
		return 0
	}
	n, err := strconv.Atoi(rows[0]["_value"])
	if err != nil {
		t.Fatalf("%s: %v in %v", q, err, rows)
	}
	return n
}

// QueryFlux asks 2.x and returns the records of all tables, by column.
func (s *Server) QueryFlux(t testing.TB, q string) []map[string]string {
	t.Helper()
	body := s.request(t, "POST", "/api/v2/query?org="+s.Org, "application/vnd.flux", []byte(q))
	r := csv.NewReader(strings.NewReader(string(body)))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	var rows []map[string]string
	var columns []string
	for _, l := range lines {
		switch {
		case len(l) < 2:
			columns = nil
		case columns == nil || l[1] == "result" || l[1] == "error":
			columns = l
		default:
			row := map[string]string{}
			for i, c := range l {
				if i < len(columns) {
					row[columns[i]] = c
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// Disk is how many octets a database's files take, without its write-ahead log.
func (s *Server) Disk(t testing.TB, db string) (octets int64) {
	t.Helper()
	err := filepath.WalkDir(s.place(t, "data", db), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what is compacted away meanwhile
		}
		if st, err := d.Info(); err == nil {
			octets += st.Sys().(*syscall.Stat_t).Blocks * 512 // parts are laid out ahead, with holes
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// place is where a database's files are.
func (s *Server) place(t testing.TB, kind, db string) string {
	if s.V1() {
		return filepath.Join(s.dir, kind, db)
	}
	return filepath.Join(s.dir, "engine", kind, s.bucketID(t, db))
}

// logs is where the write-ahead logs are.
func (s *Server) logs() string {
	if s.V1() {
		return filepath.Join(s.dir, "wal")
	}
	return filepath.Join(s.dir, "engine", "wal")
}

// Unsettled is what is in write-ahead logs, in octets: not in files yet.
func (s *Server) Unsettled(t testing.TB) (octets int64) {
	t.Helper()
	_ = filepath.WalkDir(s.logs(), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if st, err := d.Info(); err == nil {
				octets += st.Size()
			}
		}
		return nil
	})
	return octets
}

// Settle waits until nothing is in write-ahead logs and the databases' files do not
// shrink any more: of a server that StartToMeasure runs.
func (s *Server) Settle(t testing.TB, databases ...string) {
	t.Helper()
	before, same := int64(-1), 0
	for deadline := time.Now().Add(20 * time.Minute); same < 5; time.Sleep(time.Second) {
		var now int64
		for _, db := range databases {
			now += s.Disk(t, db)
		}
		if now == before && s.Unsettled(t) < 1<<16 {
			same++
		} else {
			same = 0
		}
		if before = now; time.Now().After(deadline) {
			t.Fatalf("not settled: %d octets in write-ahead logs", s.Unsettled(t))
		}
	}
}

// Memory is what the server's process has resident, in octets.
func (s *Server) Memory(t testing.TB) (octets int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
