// Package cases makes the situations of docs/cases.md happen on this host, with
// real processes, sockets, namespaces and translations, and checks what the real
// weir wrote about them. Each test is named after its row.
package cases
