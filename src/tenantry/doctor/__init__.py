"""What an operator may ask of a machine: which layers it has, whether they hold, and whether live processes wear them.

`layers` probes, `suite` attacks, `posture` looks at processes from outside. What is attacked is a table (`attacks`),
run by the tests and by `tenantry doctor --attack` alike: nobody should have to believe us.
"""
