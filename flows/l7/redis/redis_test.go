package redis

import (
	"strings"
	"testing"

	"github.com/weir-probe/weir/flows/l7/l7test"
)

var rules = []l7test.Rule{
	{"one command", `
		> *2\r\n$3\r\nget\r\n$1\r\nk\r\n
		< $5\r\nhello\r\n
	`, []string{`answered "GET" "OK" 20/11 1000us`}},
	{"a miss", `
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< $-1\r\n
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< _\r\n
	`, []string{`answered "GET" "nil" 20/5 1000us`, `answered "GET" "nil" 20/3 1000us`}},
	{"inline", `
		> PING\r\n
		< +PONG\r\n
		> \r\n
		> set  key "a value"\r\n
		< +OK\r\n
	`, []string{`answered "PING" "OK" 6/7 1000us`, `answered "SET" "OK" 20/5 1000us`}},
	{"both words of a command with subcommands", `
		> *4\r\n$6\r\nclient\r\n$7\r\nSetInfo\r\n$8\r\nLIB-NAME\r\n$2\r\nme\r\n
		< +OK\r\n
		> *3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$1\r\n*\r\n
		< *0\r\n
		> *2\r\n$6\r\nCONFIG\r\n$6\r\nsecret\r\n
		< -ERR unknown subcommand 'secret'\r\n
	`, []string{`answered "CLIENT SETINFO" "OK" 51/5 1000us`, `answered "CONFIG GET" "OK" 32/4 1000us`, `answered "CONFIG" "ERR" failed 28/34 1000us`}},
	{"unknown words make no names", `
		> *2\r\n$6\r\nS3CRET\r\n$1\r\nk\r\n
		< -ERR unknown command\r\n
	`, []string{`answered "other" "ERR" failed 23/22 1000us`}},
	{"commands of modules", `
		> *2\r\n$8\r\njson.get\r\n$1\r\nk\r\n
		< $2\r\n{}\r\n
		> *2\r\n$8\r\nJSON.ALL\r\n$1\r\nk\r\n
		< -ERR unknown command\r\n
	`, []string{`answered "JSON.GET" "OK" 25/8 1000us`, `answered "other" "ERR" failed 25/22 1000us`}},
	{"errors and redirections", `
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< -WRONGTYPE Operation against a key holding the wrong kind of value\r\n
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< -MOVED 3999 127.0.0.1:6381\r\n
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< -USER42 made up by a script\r\n
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< !10\r\nNOAUTH now\r\n
	`, []string{
		`answered "GET" "WRONGTYPE" failed 20/68 1000us`, `answered "GET" "MOVED" 20/28 1000us`,
		`answered "GET" "ERROR" failed 20/29 1000us`, `answered "GET" "NOAUTH" failed 20/17 1000us`,
	}},
	{"pipelining", `
		> *1\r\n$4\r\nPING\r\n*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n
		< +PONG\r\n
		< :1\r\n
	`, []string{`answered "PING" "OK" overlapped 14/7 1000us`, `answered "DEL" "OK" overlapped 20/4 2000us`}},
	{"a transaction", `
		> *1\r\n$5\r\nMULTI\r\n
		< +OK\r\n
		> *2\r\n$4\r\nINCR\r\n$1\r\nk\r\n
		< +QUEUED\r\n
		> *1\r\n$4\r\nEXEC\r\n
		< *2\r\n:1\r\n-WRONGTYPE no\r\n
		> *1\r\n$4\r\nEXEC\r\n
		< *-1\r\n
	`, []string{
		`answered "MULTI" "OK" 15/5 1000us`, `answered "INCR" "QUEUED" 21/9 1000us`,
		`answered "EXEC" "WRONGTYPE" failed 14/23 1000us`, `answered "EXEC" "nil" 14/5 1000us`,
	}},
	{"waiting is no service time", `
		> *3\r\n$5\r\nBLPOP\r\n$1\r\nk\r\n$1\r\n1\r\n
		< *-1\r\n
		> *6\r\n$5\r\nXREAD\r\n$5\r\nblock\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n$\r\n
		< *-1\r\n
		> *4\r\n$5\r\nXREAD\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n0\r\n
		< *-1\r\n
	`, []string{`answered "BLPOP" "nil" streaming 29/5`, `answered "XREAD" "nil" streaming 60/5`, `answered "XREAD" "nil" 42/5 1000us`}},
	{"subscription", `
		> *3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n
		< *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n
		< *3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n
		> *1\r\n$4\r\nPING\r\n
		< *2\r\n$4\r\npong\r\n$0\r\n\r\n
		> *1\r\n$11\r\nUNSUBSCRIBE\r\n
		< *3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n
		> *4\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n$1\r\n0\r\n$1\r\n9\r\n
		< *1\r\n$7\r\nmessage\r\n
	`, []string{
		`answered "SUBSCRIBE" "OK" streaming 33/30`, `oneway "push message" "" streaming 0/31`,
		`answered "PING" "OK" 14/20 1000us`, `answered "UNSUBSCRIBE" "OK" streaming 22/33`, `answered "LRANGE" "OK" 37/17 1000us`,
	}},
	{"RESP3 pushes are no answers", `
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< >2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n
		< |1\r\n+ttl\r\n:360\r\n$1\r\nv\r\n
		> *2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n
		< >3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n
	`, []string{`oneway "push invalidate" "" streaming 0/32`, `answered "GET" "OK" 20/23 2000us`, `answered "SUBSCRIBE" "OK" streaming 26/30`}},
	{"MONITOR", `
		> *1\r\n$7\r\nMONITOR\r\n
		< +OK\r\n
		< +1339518083.107412 [0 127.0.0.1:60866] "keys" "*"\r\n
	`, []string{`answered "MONITOR" "OK" streaming 17/5`, `oneway "push monitor" "" streaming 0/51`}},
	{"CLIENT REPLY", `
		> *3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n
		> *1\r\n$4\r\nPING\r\n
		> *3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\non\r\n
		< +OK\r\n
		> *3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nTIME\r\n
		< *2\r\n$1\r\n1\r\n$1\r\n2\r\n
	`, []string{
		`oneway "CLIENT REPLY" "" 36/0`, `oneway "PING" "" 14/0`, `answered "CLIENT REPLY" "OK" 35/5 1000us`,
		`oneway "CLIENT REPLY" "" 37/0`, `oneway "PING" "" 14/0`, `answered "TIME" "OK" 14/18 1000us`,
	}},
	{"a replica is followed no further", `
		> *3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n
		< +FULLRESYNC 0123 0\r\n
		< $EOF:0123456789012345678901234567890123456789\r\n
		> *1\r\n$4\r\nPING\r\n
	`, []string{`answered "PSYNC" "OK" streaming 30/20`}},
	{"holes in a value do no harm", `
		> *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nab
		> ...98
		> \r\n
		< +OK\r\n
		> *2\r\n$3\r\nGET\r\n$1\r\nk\r\n
		< $100\r\nab
		< ...100
		> *1\r\n$4\r\nPING\r\n
		< +PONG\r\n
	`, []string{`answered "SET" "OK" 128/5 1000us`, `answered "GET" "OK" 20/108 1000us`, `answered "PING" "OK" 14/7 1000us`}},
	{"after a hole over the end of a value", `
		> *5\r\n$4\r\nMSET\r\n$1\r\nk\r\n$100\r\nab
		> ...200
		< +OK\r\n
		= 200
		> *1\r\n$4\r\nPING\r\n
		< +PONG\r\n
	`, []string{`answered "MSET" "OK" 29/5`, `answered "PING" "OK" 14/7 1000us`}},
	{"after a hole in an answer", `
		> *1\r\n$4\r\nPING\r\n*1\r\n$4\r\nTIME\r\n
		< ...10
		= 200
		> *1\r\n$4\r\nPING\r\n
		< +PONG\r\n
	`, []string{`lost "PING" "" overlapped 14/0`, `lost "TIME" "" overlapped 14/0`, `answered "PING" "OK" 14/7 1000us`}},
	{"a long answer of which the beginning was copied", `
		> *4\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n$1\r\n0\r\n$1\r\n9\r\n
		< *100\r\n$10\r\n0123
		< ...5000
		= 200
		> *1\r\n$4\r\nPING\r\n
		< +PONG\r\n
	`, []string{`answered "LRANGE" "OK" 37/15 1000us`, `answered "PING" "OK" 14/7 1000us`}},
	{"without silence what follows a hole is in doubt", `
		> *1\r\n$4\r\nPING\r\n
		< ...7
		> *1\r\n$4\r\nTIME\r\n
		< +PONG\r\n
	`, []string{`lost "PING" "" 14/0`, `lost "TIME" "" 14/7`}},
	{"begun in mid-stream", `
		< $3\r\nabc\r\n
		= 200
		> *1\r\n$4\r\nPING\r\n
		< +PONG\r\n
	`, []string{`lost "other" "" 0/9`, `answered "PING" "OK" 14/7 1000us`}},
	{"unanswered", `
		> *1\r\n$8\r\nSHUTDOWN\r\n
	`, []string{`unanswered "SHUTDOWN" "" 18/0`}},
	{"not RESP", `
		> GET / HTTP/1.1\r\nHost: x\r\n\r\n
		< HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n
	`, []string{`lost "GET" "" overlapped 16/0`, `lost "other" "" overlapped 9/0`}},
	{"nested too deep", `
		> *1\r\n$4\r\nPING\r\n
		< ` + strings.Repeat(`*1\r\n`, 40) + `:1\r\n
		= 200
		> *1\r\n$4\r\nPING\r\n
		< +PONG\r\n
	`, []string{`lost "PING" "" 14/0`, `answered "PING" "OK" 14/7 1000us`}},
}

func TestRules(t *testing.T) { l7test.Rules(t, Spec, rules) }
