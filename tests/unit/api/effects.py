"""Which test shows the effect of each field. A field without one does not belong into the resource."""

from __future__ import annotations

_DOMAIN = "tests/unit/domain"
_TEMPLATE = "tests/contract/operator_ports/test_templates.py"
_FIELD_BY_FIELD = f"{_TEMPLATE}::test_a_hire_sends_field_by_field_what_azure_ai_ml_would_have_sent"
_COORDINATES = f"{_DOMAIN}/test_desired.py::test_coordinates_are_taken_from_the_spec"
_ENVIRONMENT = f"{_DOMAIN}/test_job_environment.py"
_QUEUE_AND_CONTROL = f"{_ENVIRONMENT}::test_a_job_finds_its_queue_its_slots_and_its_control_channel"
_SECRETS = f"{_ENVIRONMENT}::test_own_variables_and_secrets_are_passed_on"
_REGION_CONTROL = f"{_DOMAIN}/test_region_control.py"
_OWN_CHANNEL_KEPT = f"{_REGION_CONTROL}::test_a_region_taken_out_of_the_spec_is_emptied_over_its_own_namespace"
_ENTITIES = "tests/contract/operator_ports/test_control_entities.py"
_REPLACE = f"{_DOMAIN}/test_replace.py"
_SHRINKING = f"{_DOMAIN}/test_shrinking.py"
_UNNAMED = f"{_DOMAIN}/test_unnamed.py"
_RECOVERY = f"{_DOMAIN}/test_recovery.py"
_DELETION = f"{_DOMAIN}/test_deletion.py"
_STATUS = f"{_DOMAIN}/test_status.py"
_NUMBERS = f"{_STATUS}::test_numbers_are_those_of_supply_and_of_who_leaves"
_LEDGER = f"{_STATUS}::test_the_ledger_survives_the_way_through_the_api_server"
_ENDS = f"{_DOMAIN}/test_crash_memory.py"
_HIRING = f"{_DOMAIN}/test_hiring.py"
_PLACING = f"{_DOMAIN}/test_placing.py"
_CIRCUIT = f"{_PLACING}::test_failed_hires_open_the_circuit_in_the_status_and_a_hire_that_works_closes_it"
_CONDITIONS = f"{_DOMAIN}/test_conditions.py"
_ALL_CONDITIONS = f"{_CONDITIONS}::test_all_conditions_are_there_from_the_first_pass_in_the_documented_order"
_AUTOSCALING = "tests/passes/test_autoscaling.py"
_BUS = f"{_ENVIRONMENT}::test_a_job_finds_its_service_bus_queue"
_SIZING = f"{_DOMAIN}/test_sizing.py"
_DECIDE = f"{_DOMAIN}/scaling/test_decide.py"
_BEHAVIOR = f"{_DOMAIN}/scaling/test_behavior.py"
_SCHEDULES = f"{_DOMAIN}/scaling/test_schedules.py"
_LASTS = f"{_SCHEDULES}::test_a_schedule_lasts_from_its_beginning_until_just_before_its_end"
_FLOOR = f"{_DECIDE}::test_the_floor_is_the_larger_of_the_minimum_and_the_schedules_that_last"
_SELECTED = f"{_BEHAVIOR}::test_of_several_policies_the_selected_one_counts"
_SELECTED_FOR_FEWER = f"{_BEHAVIOR}::test_of_several_policies_for_fewer_the_selected_one_counts"
_IN_THE_PERIOD = f"{_BEHAVIOR}::test_what_changed_within_the_period_counts_against_a_policy"
_DECIDED = f"{_DECIDE}::test_a_decision_keeps_its_time_until_the_number_or_a_clamp_changes"
_CLAMPS = f"{_DECIDE}::test_every_clamp_that_changed_the_number_is_told_in_the_order_of_the_rules"

_LABEL = "tests/passes/test_labels.py::test_a_version_registered_later_is_not_taken_before_the_template_changes"
_OVERRIDES = f"{_DOMAIN}/test_template.py::test_a_region_s_overrides_reach_its_jobs_and_no_others"
_REFUSED = "tests/integration/crd/test_definition.py::test_bad_objects_are_refused_with_a_message_that_names_the_field"

OVERRIDDEN = (
    "environment.type",
    "environment.image",
    "environment.name",
    "environment.version",
    "environment.label",
    "identity.type",
    "identity.resourceId",
    "identity.clientId",
    "environmentVariables[].name",
    "environmentVariables[].value",
    "environmentVariables[].valueFrom.secretKeyRef.name",
    "environmentVariables[].valueFrom.secretKeyRef.key",
    "outputs.*.type",
    "outputs.*.path",
    "outputs.*.mode",
    "resources.instanceCount",
    "resources.instanceType",
    "resources.properties",
)
"""Fields that a region may have otherwise than the template."""

EFFECTS = {
    "spec.replicas": f"{_HIRING}::test_where_no_name_is_in_use_the_first_names_are_reserved_and_hired_under",
    "spec.queue.type": f"{_DOMAIN}/test_validate.py::test_a_spec_that_cannot_be_worked_with_is_refused_by_its_field",
    "spec.queue.storage.account": _QUEUE_AND_CONTROL,
    "spec.queue.storage.name": _QUEUE_AND_CONTROL,
    "spec.queue.serviceBus.namespace": _BUS,
    "spec.queue.serviceBus.name": _BUS,
    "spec.autoscaling.policy": f"{_DECIDE}::test_tasks_per_replica_are_the_slots_unless_said_otherwise",
    "spec.autoscaling.tasksPerReplica": f"{_SIZING}::test_the_documented_examples_are_planned",
    "spec.autoscaling.minReplicas": _FLOOR,
    "spec.autoscaling.maxReplicas": f"{_DECIDE}::test_the_ceiling_is_the_smaller_of_the_maximum_and_the_regions",
    "spec.autoscaling.pollIntervalSeconds": f"{_AUTOSCALING}::test_autoscaling_reads_the_queue_at_its_own_interval",
    "spec.autoscaling.activationTasks": f"{_DECIDE}::test_activation_holds_back_the_first_replica_only",
    "spec.autoscaling.behavior.scaleUp.stabilizationWindowSeconds": (
        f"{_BEHAVIOR}::test_the_lowest_number_of_the_window_counts_on_the_way_up"
    ),
    "spec.autoscaling.behavior.scaleUp.selectPolicy": _SELECTED,
    "spec.autoscaling.behavior.scaleUp.policies[].type": _SELECTED,
    "spec.autoscaling.behavior.scaleUp.policies[].value": _IN_THE_PERIOD,
    "spec.autoscaling.behavior.scaleUp.policies[].periodSeconds": _IN_THE_PERIOD,
    "spec.autoscaling.behavior.scaleDown.stabilizationWindowSeconds": (
        f"{_BEHAVIOR}::test_the_highest_number_of_the_window_counts_on_the_way_down"
    ),
    "spec.autoscaling.behavior.scaleDown.selectPolicy": _SELECTED_FOR_FEWER,
    "spec.autoscaling.behavior.scaleDown.policies[].type": _SELECTED_FOR_FEWER,
    "spec.autoscaling.behavior.scaleDown.policies[].value": _SELECTED_FOR_FEWER,
    "spec.autoscaling.behavior.scaleDown.policies[].periodSeconds": (
        f"{_BEHAVIOR}::test_after_a_restart_nobody_is_let_go_before_the_policys_period_is_known"
    ),
    "spec.autoscaling.schedules[].name": _FLOOR,
    "spec.autoscaling.schedules[].schedule": _LASTS,
    "spec.autoscaling.schedules[].timeZone": (f"{_SCHEDULES}::test_a_schedule_follows_the_clocks_of_its_time_zone"),
    "spec.autoscaling.schedules[].durationSeconds": _LASTS,
    "spec.autoscaling.schedules[].minReplicas": _FLOOR,
    "spec.regions[].name": f"{_DOMAIN}/test_desired.py::test_jobs_are_named_after_their_workforce_and_region",
    "spec.regions[].subscriptionId": _COORDINATES,
    "spec.regions[].resourceGroup": _COORDINATES,
    "spec.regions[].workspace": _COORDINATES,
    "spec.regions[].compute": _COORDINATES,
    "spec.regions[].experiment": _COORDINATES,
    "spec.regions[].topic": _COORDINATES,
    "spec.regions[].control.serviceBus.subscriptionId": _COORDINATES,
    "spec.regions[].control.serviceBus.resourceGroup": _COORDINATES,
    "spec.regions[].control.serviceBus.namespace": (
        f"{_REGION_CONTROL}::test_workers_listen_in_their_own_regions_namespace"
    ),
    "spec.regions[].minReplicas": f"{_DOMAIN}/test_placement.py::test_replicas_are_spread_evenly_within_the_bounds",
    "spec.regions[].maxReplicas": f"{_HIRING}::test_the_cap_counts_every_name_that_may_have_a_job",
    "spec.regions[].priority": f"{_PLACING}::test_priority_fills_the_region_with_the_higher_number_first",
    "spec.regions[].weight": f"{_PLACING}::test_weighted_keeps_the_regions_in_proportion",
    "spec.regions[].hourlyCost": f"{_PLACING}::test_cheapest_fills_the_cheaper_region_first",
    "spec.placement.queuedTimeoutSeconds": f"{_PLACING}::test_the_timeout_is_the_one_of_the_spec",
    "spec.placement.strategy": f"{_PLACING}::test_each_strategy_divides_growth_in_its_own_way",
    "spec.template.command": _FIELD_BY_FIELD,
    "spec.template.slots": _QUEUE_AND_CONTROL,
    "spec.template.environment.type": f"{_TEMPLATE}::test_a_template_that_is_incomplete_is_the_user_s_to_mend",
    "spec.template.environment.image": _FIELD_BY_FIELD,
    "spec.template.environment.name": _FIELD_BY_FIELD,
    "spec.template.environment.version": _FIELD_BY_FIELD,
    "spec.template.environment.label": _LABEL,
    "spec.template.identity.type": f"{_ENVIRONMENT}::test_an_identity_is_told_by_its_client_id",
    "spec.template.identity.resourceId": _FIELD_BY_FIELD,
    "spec.template.identity.clientId": f"{_ENVIRONMENT}::test_an_identity_is_told_by_its_client_id",
    "spec.template.environmentVariables[].name": _SECRETS,
    "spec.template.environmentVariables[].value": _SECRETS,
    "spec.template.environmentVariables[].valueFrom.secretKeyRef.name": _SECRETS,
    "spec.template.environmentVariables[].valueFrom.secretKeyRef.key": _SECRETS,
    "spec.template.shmSize": _FIELD_BY_FIELD,
    "spec.template.timeoutSeconds": f"{_ENVIRONMENT}::test_a_worker_stops_pulling_early_enough_to_leave_by_itself",
    "spec.template.tags": _FIELD_BY_FIELD,
    "spec.template.code": _FIELD_BY_FIELD,
    "spec.template.inputs.*.type": _FIELD_BY_FIELD,
    "spec.template.inputs.*.path": _FIELD_BY_FIELD,
    "spec.template.inputs.*.mode": _FIELD_BY_FIELD,
    "spec.template.inputs.*.value": _FIELD_BY_FIELD,
    "spec.template.outputs.*.type": _FIELD_BY_FIELD,
    "spec.template.outputs.*.path": _FIELD_BY_FIELD,
    "spec.template.outputs.*.mode": _FIELD_BY_FIELD,
    "spec.template.resources.instanceCount": _REFUSED,
    "spec.template.resources.instanceType": _FIELD_BY_FIELD,
    "spec.template.resources.properties": _FIELD_BY_FIELD,
    "spec.template.queueSettings.jobTier": _FIELD_BY_FIELD,
    "spec.template.queueSettings.priority": _FIELD_BY_FIELD,
    **{f"spec.regions[].overrides.{path}": _OVERRIDES for path in OVERRIDDEN},
    "spec.control.serviceBus.subscriptionId": f"{_ENTITIES}::test_a_missing_role_is_denied_for_its_scope",
    "spec.control.serviceBus.resourceGroup": f"{_ENTITIES}::test_a_missing_role_is_denied_for_its_scope",
    "spec.control.serviceBus.namespace": _QUEUE_AND_CONTROL,
    "spec.control.dialect": (
        f"{_UNNAMED}::test_so_many_messages_are_sent_as_workers_are_to_leave_and_the_ledger_counts_them"
    ),
    "spec.drain.mode": f"{_SHRINKING}::test_mode_checkpoint_is_in_the_order_and_in_the_ledger",
    "spec.drain.deadlineSeconds": f"{_SHRINKING}::test_an_order_says_all_that_the_node_needs",
    "spec.drain.onDeadline": f"{_SHRINKING}::test_a_running_worker_is_cancelled_at_its_deadline_if_the_spec_says_so",
    "spec.failurePolicy.backoffBaseSeconds": f"{_REPLACE}::test_the_policy_says_how_long_failures_are_waited_out",
    "spec.failurePolicy.backoffMaxSeconds": f"{_REPLACE}::test_the_policy_says_how_long_failures_are_waited_out",
    "spec.failurePolicy.maxConsecutiveFailures": (
        f"{_DOMAIN}/test_template_backoff.py::test_fewer_failures_than_the_policy_s_leave_the_template_alone"
    ),
    "spec.suspend": f"{_HIRING}::test_hold_touches_nothing_and_remembers_nothing",
    "spec.adoptFrom": (
        "tests/passes/test_adoption.py::test_adopt_from_takes_the_living_jobs_over_and_hires_only_what_is_missing"
    ),
    "spec.deletionPolicy": f"{_DELETION}::test_policy_cancel_cancels_everything_that_lives",
    "spec.deletionDeadlineSeconds": f"{_DELETION}::test_at_the_deadline_running_workers_are_left_and_named",
    "status.observedGeneration": _NUMBERS,
    "status.installationId": _NUMBERS,
    "status.desiredReplicas": _NUMBERS,
    "status.replicas": _NUMBERS,
    "status.pendingReplicas": _NUMBERS,
    "status.runningReplicas": _NUMBERS,
    "status.pausedReplicas": _NUMBERS,
    "status.drainingReplicas": _NUMBERS,
    "status.queueLength": _NUMBERS,
    "status.templateHash": _NUMBERS,
    "status.regionsSummary": f"{_STATUS}::test_the_summary_of_many_regions_is_short",
    "status.selector": _NUMBERS,
    "status.lastScaleDecision.time": _DECIDED,
    "status.lastScaleDecision.backlog": _DECIDED,
    "status.lastScaleDecision.rawDesired": _CLAMPS,
    "status.lastScaleDecision.desired": _CLAMPS,
    "status.lastScaleDecision.clamps[].name": _CLAMPS,
    "status.lastScaleDecision.clamps[].from": _CLAMPS,
    "status.lastScaleDecision.clamps[].to": _CLAMPS,
    "status.lastScaleDecision.message": _CLAMPS,
    "status.regions[].name": _LEDGER,
    "status.regions[].coordinates.subscriptionId": _LEDGER,
    "status.regions[].coordinates.resourceGroup": _LEDGER,
    "status.regions[].coordinates.workspace": _LEDGER,
    "status.regions[].coordinates.compute": _LEDGER,
    "status.regions[].coordinates.experiment": _LEDGER,
    "status.regions[].coordinates.topic": _LEDGER,
    "status.regions[].coordinates.control.serviceBus.subscriptionId": _OWN_CHANNEL_KEPT,
    "status.regions[].coordinates.control.serviceBus.resourceGroup": _OWN_CHANNEL_KEPT,
    "status.regions[].coordinates.control.serviceBus.namespace": _OWN_CHANNEL_KEPT,
    "status.regions[].desired": f"{_PLACING}::test_a_share_is_remembered_and_a_restart_moves_nothing",
    "status.regions[].pending": _NUMBERS,
    "status.regions[].running": _NUMBERS,
    "status.regions[].paused": _NUMBERS,
    "status.regions[].draining": _NUMBERS,
    "status.regions[].nextSequence": _LEDGER,
    "status.regions[].firstSequence": f"{_HIRING}::test_a_region_that_is_added_again_gives_no_name_out_twice",
    "status.nextSequence": f"{_HIRING}::test_a_region_that_is_added_again_gives_no_name_out_twice",
    "status.regions[].filled": _LEDGER,
    "status.regions[].hiring[].first": f"{_HIRING}::test_a_hire_that_was_decided_goes_on_although_the_queue_is_empty",
    "status.regions[].hiring[].last": f"{_HIRING}::test_a_hire_that_was_decided_goes_on_although_the_queue_is_empty",
    "status.regions[].environment.templateHash": _LABEL,
    "status.regions[].environment.version": _LABEL,
    "status.regions[].idle": f"{_HIRING}::test_a_cancelled_workers_end_lets_no_idle_one_in",
    "status.regions[].failing": f"{_HIRING}::test_a_back_off_is_remembered_by_its_number",
    "status.regions[].fastEnds.outcome": f"{_ENDS}::test_it_begins_anew_with_another_outcome_and_template",
    "status.regions[].fastEnds.templateHash": f"{_ENDS}::test_it_begins_anew_with_another_outcome_and_template",
    "status.regions[].fastEnds.replaced": f"{_ENDS}::test_nor_while_a_worker_that_lives_keeps_old_ends_in_the_list",
    "status.regions[].fastEnds.endTime": f"{_ENDS}::test_it_begins_anew_after_a_worker_that_lasted",
    "status.regions[].reserved": f"{_HIRING}::test_a_region_that_was_never_read_counts_as_full",
    "status.regions[].openCohorts[].first": _LEDGER,
    "status.regions[].openCohorts[].last": _LEDGER,
    "status.regions[].drains[].id": _LEDGER,
    "status.regions[].drains[].mode": _LEDGER,
    "status.regions[].drains[].state": _LEDGER,
    "status.regions[].drains[].revision": _LEDGER,
    "status.regions[].drains[].jobs[].first": _LEDGER,
    "status.regions[].drains[].jobs[].last": _LEDGER,
    "status.regions[].drains[].count": f"{_UNNAMED}::test_counts_survive_the_way_through_the_status",
    "status.regions[].drains[].sentTime": _LEDGER,
    "status.regions[].drains[].deadlineTime": _LEDGER,
    "status.regions[].drains[].reason": _LEDGER,
    "status.regions[].surveyedTime": f"{_RECOVERY}::test_a_job_that_a_lagging_list_left_out_is_found_by_the_second_one",
    "status.regions[].restoredTime": f"{_RECOVERY}::test_a_lost_ledger_with_live_workers_says_when_it_began",
    "status.regions[].movedTime": f"{_PLACING}::test_rule_7_jobs_move_at_most_once_per_cool_down",
    "status.regions[].circuit.failures": _CIRCUIT,
    "status.regions[].circuit.changedTime": _CIRCUIT,
    "status.regions[].circuit.retryTime": _CIRCUIT,
    "status.regions[].circuit.reason": _CIRCUIT,
    "status.regions[].circuit.message": _CIRCUIT,
    "status.regions[].capacity": f"{_PLACING}::test_what_is_not_known_holds_nobody_back",
    "status.regions[].conditions[].type": _CIRCUIT,
    "status.regions[].conditions[].status": _CIRCUIT,
    "status.regions[].conditions[].observedGeneration": _CIRCUIT,
    "status.regions[].conditions[].lastTransitionTime": _CIRCUIT,
    "status.regions[].conditions[].reason": _CIRCUIT,
    "status.regions[].conditions[].message": f"{_PLACING}::test_a_region_that_cannot_be_read_says_so_itself",
    "status.regions[].staleSinceTime": f"{_HIRING}::test_a_short_outage_moves_nothing",
    "status.regions[].message": f"{_CONDITIONS}::test_a_transient_failure_is_told_and_changes_no_condition",
    "status.conditions[].type": _ALL_CONDITIONS,
    "status.conditions[].status": f"{_CONDITIONS}::test_a_workforce_that_has_what_it_asked_for_is_ready",
    "status.conditions[].observedGeneration": f"{_CONDITIONS}::test_an_edit_clears_ready_until_it_is_fulfilled",
    "status.conditions[].lastTransitionTime": f"{_CONDITIONS}::test_a_transition_time_moves_only_with_the_status",
    "status.conditions[].reason": f"{_CONDITIONS}::test_a_workforce_that_has_what_it_asked_for_is_ready",
    "status.conditions[].message": f"{_CONDITIONS}::test_a_workforce_that_has_what_it_asked_for_is_ready",
}
