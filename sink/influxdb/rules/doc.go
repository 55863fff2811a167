// Package rules is what is wrong in the rows, whoever looks: one table from which the
// alert rules of Grafana, the checks of InfluxDB 2 and the TICKscripts of Kapacitor are
// generated, so that an alert means the same in all three. What the probe tells by itself
// (sink/alert) are events; of those the table has the anomalies.
package rules
