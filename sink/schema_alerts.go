package sink

// StageAlerts tells people of events, see sink/alert.
const StageAlerts Stage = "alerts"

// Fields of weir_self, stage alerts, beside seen, bytes, lost, lost_table_full, requests,
// retries, throttled and rejected.
const (
	SelfAlertsSent     SelfInt   = "alerts_sent"
	SelfAlertsFiltered SelfInt   = "alerts_filtered"
	SelfAlertsRepeated SelfInt   = "alerts_repeated"
	SelfAlertsStale    SelfInt   = "alerts_stale"
	SelfAlertsFiring   SelfInt   = "alerts_firing"
	SelfAlertsWaiting  SelfInt   = "alerts_waiting"
	SelfAlertsFailing  SelfInt   = "receivers_failing"
	SelfAlertsAge      SelfFloat = "alerts_age_seconds"
)

func selfAlertFields() []Field {
	return []Field{
		selfInt(SelfAlertsSent, Count, Delta, "alerts: accepted by a receiver"),
		selfInt(SelfAlertsFiltered, Count, Delta, "alerts: that a receiver does not want"),
		selfInt(SelfAlertsRepeated, Count, Delta, "alerts: that a receiver knows already"),
		selfLoss(SelfAlertsStale, Count, "alerts: given up after they waited for an hour"),
		selfInt(SelfAlertsFiring, Count, Gauge, "alerts: that go on, as far as receivers know"),
		selfInt(SelfAlertsWaiting, Count, Gauge, "alerts: to be sent"),
		selfInt(SelfAlertsFailing, Count, Gauge, "alerts: receivers that cannot be told"),
		selfFloat(SelfAlertsAge, Seconds, Gauge, "alerts: how long the oldest has waited"),
	}
}
