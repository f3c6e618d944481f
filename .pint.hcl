# The rules of pint (https://cloudflare.github.io/pint/) for alerts/rules: make lint-mixin

parser {
  include = ["alerts/rules/.+"]
}

# What each alert must have, beside what pint asks by itself.
rule {
  match {
    kind = "alerting"
  }
  label "severity" {
    value    = "critical|warning|info"
    required = true
    severity = "bug"
  }
  annotation "summary" {
    required = true
    severity = "bug"
  }
  annotation "description" {
    required = true
    severity = "bug"
  }
  annotation "runbook_url" {
    value    = "https://github.com/agentgauge/agentgauge/blob/main/docs/runbooks/{{ $alert }}.md"
    required = true
    severity = "bug"
  }
  annotation "dashboard_url" {
    value    = "(?s)/d/agentgauge-.+"
    required = true
    severity = "bug"
  }
}

# level:metric:operation
rule {
  match {
    kind = "recording"
  }
  name "[a-z_]+:[a-z_]+(:[a-z0-9_]+)?" {
    severity = "bug"
  }
}

# Exceptions, each with its reason.

# It always fires: a service that it is sent to calls when it stops coming.
rule {
  match {
    name = "AgentgaugeWatchdog"
  }
  disable = ["alerts/comparison"]
}

# What it asks for are alerts: each that there is, is one that fires.
rule {
  match {
    name = "AgentgaugeCriticalUnresolved"
  }
  disable = ["alerts/comparison"]
}

# Two series of different labels make it fire, and its text takes the label that there is.
rule {
  match {
    name = "AgentgaugeNotificationsFailing"
  }
  disable = ["alerts/template"]
}

# Prometheus itself makes rule_group of a file and a name; there is no label of either alone.
rule {
  match {
    name = "AgentgaugeRuleEvaluationFailing"
  }
  disable = ["promql/regexp"]
}

# It looks back over a day and leaves out the last hour: which group is evaluated first makes no difference.
rule {
  match {
    name = "job_agent:agent_cost_usd:increase5m_.+1d"
  }
  disable = ["rule/dependency"]
}
