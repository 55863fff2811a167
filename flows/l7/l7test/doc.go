// Package l7test is what tests of protocol parsers are made of: what a client and a
// server said, from a script, a table or a capture; the messages a parser tells of
// it; and the properties that every parser of flows/l7 has.
//
//	var rules = []l7test.Rule{
//		{"a request and its answer", `
//			> PING\r\n
//			< +PONG\r\n
//		`, []string{`answered "PING" "OK" 6/7 1000us`}},
//	}
//
//	func TestRules(t *testing.T)  { l7test.Rules(t, Spec, rules) }
//	func TestGolden(t *testing.T) { l7test.Golden(t, Spec, l7test.Text) }
//	func FuzzParser(f *testing.F) { l7test.Fuzz(f, Spec, rules) }
package l7test
