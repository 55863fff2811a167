package sqlname

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for sql, want := range map[string]string{
		"select * from users where id = 7":                               "SELECT users",
		"SELECT (SELECT count(*) FROM a) FROM b":                         "SELECT b",
		"SELECT * FROM (SELECT 1 FROM inner_table) x":                    "SELECT inner_table",
		"SELECT 'it''s from \\' nowhere', E'x' FROM \"Shop\".\"Orders\"": "SELECT Shop.Orders",
		"SELECT 1":             "SELECT",
		"SELECT pg_sleep(0.1)": "SELECT",
		"/* app:x */ -- c\n insert into `shop`.`orders_2024_01` values(1)": "INSERT shop.orders_#_#",
		"UPDATE ONLY t SET a='secret'":                                     "UPDATE t",
		"delete from t where x":                                            "DELETE t",
		"WITH x AS (SELECT * FROM a), y AS (DELETE FROM b) UPDATE c SET d": "UPDATE c",
		"WITH x AS (SELECT * FROM a) SELECT * FROM x":                      "SELECT x",
		"CREATE TABLE IF NOT EXISTS orders (id int)":                       "CREATE TABLE orders",
		"CREATE UNIQUE INDEX i ON t(x)":                                    "CREATE INDEX i",
		"drop view v":                                                      "DROP VIEW v",
		"BEGIN ISOLATION LEVEL SERIALIZABLE":                               "BEGIN",
		"set password = 'secret'":                                          "SET",
		"EXECUTE abc123(1)":                                                "EXECUTE",
		"(SELECT a FROM b) UNION (SELECT c FROM d)":                        "SELECT b",
		"COPY t FROM STDIN":                                                "COPY t",
		"TRUNCATE TABLE t":                                                 "TRUNCATE t",
		"REPLACE INTO t VALUES (1)":                                        "REPLACE t",
		"$$secret$$":                                                       "other",
		"secret":                                                           "other",
		"'secret'":                                                         "other",
		"":                                                                 "other",
		"SELECT 'cut in the middle of a secret":                            "SELECT",
		"SELECT * FROM t" + strings.Repeat("x", 100):                       "SELECT t" + strings.Repeat("x", maxTarget-1),
		"SELECT $tag$ from secret $tag$ FROM t":                            "SELECT t",
		"CALL p(1)":                                                        "CALL p",
	} {
		if got := string(Append(nil, []byte(sql))); got != want {
			t.Errorf("%q is %q, want %q", sql, got, want)
		}
	}
}

func TestAllocations(t *testing.T) {
	dst, sql := make([]byte, 0, 128), []byte("SELECT a, b FROM users WHERE id = 7")
	if n := testing.AllocsPerRun(100, func() { dst = Append(dst[:0], sql) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzAppend(f *testing.F) {
	for _, s := range []string{"select * from users", "WITH x AS (SELECT 'a' FROM b) UPDATE c", "/* */ insert into `a`.`b`", "$a$ x $a$", "SELECT (((("} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sql []byte) {
		got := Append(nil, sql)
		if len(got) == 0 || len(got) > 100 {
			t.Errorf("a name of %d octets", len(got))
		}
		for _, c := range got {
			if c < ' ' || c >= 0x7f {
				t.Errorf("%q", got)
			}
		}
	})
}
