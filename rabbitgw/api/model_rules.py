"""/v1/admin/model_rules: which models may be called below an account, a team or a user. Thin: billing decides.

A change is pushed to Redis for every key below before the answer, as in admin.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rabbitgw import telemetry
from rabbitgw.api.deps import SideDeps
from rabbitgw.api.forms import Form, Id, ModelPattern, Nothing, PageQuery, QueryId, told
from rabbitgw.api.route import AnyRoute, Asked, Auth, Route
from rabbitgw.api.views import Time, View, next_page
from rabbitgw.billing import model_rules
from rabbitgw.billing.key_push import push_keys_below
from rabbitgw.billing.model_rules import RULE_PATTERNS_MAX, ModelRule
from rabbitgw.errors import NotFound, PreconditionFailed

EntityType = Literal["account", "team", "user"]
RulePatterns = Annotated[list[ModelPattern], told(minItems=1, maxItems=RULE_PATTERNS_MAX)]


class ModelRuleForm(Form):
    """At least one of allow and deny."""

    entity_type: EntityType
    entity_id: Id
    allow: RulePatterns | None = Field(
        default=None,
        description="patterns of the models that may be called; all if left out",
        examples=[["gpt-4o*"]],
    )
    deny: RulePatterns | None = Field(
        default=None,
        description="patterns of models that may not be called, whatever `allow` says",
        examples=[["*-preview"]],
    )


class ModelRulesQuery(PageQuery):
    account_id: QueryId | None = Field(default=None, description="only rules in this account")


class ModelRuleView(View):
    id: int
    account_id: int
    entity_type: EntityType
    entity_id: int
    allow: list[str] | None
    deny: list[str] | None
    version: int = Field(description="raised by every change; the ETag of an answer with one rule")
    created_at: Time
    removed_at: Time | None


class ChangedModelRule(ModelRuleView):
    in_effect: bool = Field(
        description="false: Redis was not reached for every key below; a worker will push the rest"
    )

    @property
    def etag(self) -> int:
        return self.version


class ModelRulesPage(View):
    model_rules: list[ModelRuleView]
    next: int | None = Field(description="what to send as `after`; null on the last page")


class ModelRuleRoutes:
    """Handlers of one process."""

    def __init__(self, deps: SideDeps) -> None:
        self._deps = deps
        self._pg = deps.pg

    def routes(self) -> list[AnyRoute]:
        path, admin = "/v1/admin/model_rules", Auth.ADMIN
        refusals = (NotFound, PreconditionFailed)
        return [
            Route(
                "GET",
                path,
                self.list_model_rules,
                "Model rules in force, by id",
                admin,
                ModelRulesPage,
                query=ModelRulesQuery,
            ),
            Route(
                "POST",
                path,
                self.set_model_rule,
                "Say which models may be called below an account, a team or a user",
                admin,
                ChangedModelRule,
                form=ModelRuleForm,
                refusals=refusals,
            ),
            Route(
                "DELETE",
                rf"{path}/{{id:\d+}}",
                self.remove_model_rule,
                "Take a model rule out of force",
                admin,
                ChangedModelRule,
                refusals=refusals,
            ),
        ]

    async def list_model_rules(self, asked: Asked[Nothing, ModelRulesQuery]) -> ModelRulesPage:
        query = asked.query
        found = await model_rules.list_rules(
            self._pg, query.account_id, after_id=query.after, rows_max=query.limit
        )
        views = [ModelRuleView.of(rule) for rule in found]
        return ModelRulesPage(model_rules=views, next=next_page(found, query.limit))

    async def set_model_rule(self, asked: Asked[ModelRuleForm, Nothing]) -> ChangedModelRule:
        form = asked.form
        rule = await model_rules.set_rule(
            self._pg,
            form.entity_type,
            form.entity_id,
            allow=form.allow,
            deny=form.deny,
            version=asked.if_match,
        )
        telemetry.log("model_rule_set", account_id=rule.account_id, model_rule_id=rule.id)
        return await self._changed(rule)

    async def remove_model_rule(self, asked: Asked[Nothing, Nothing]) -> ChangedModelRule:
        rule = await model_rules.remove_rule(self._pg, asked.id, version=asked.if_match)
        telemetry.log("model_rule_removed", account_id=rule.account_id, model_rule_id=rule.id)
        return await self._changed(rule)

    async def _changed(self, rule: ModelRule) -> ChangedModelRule:
        pushed = await push_keys_below(self._pg, self._deps.scripts, rule.entity)
        return ChangedModelRule(**ModelRuleView.of(rule).model_dump(), in_effect=pushed)
