"""The programs: xe (XenServer's grammar and output) and xenet (serve, agent, lab, plan, trace, check)."""
