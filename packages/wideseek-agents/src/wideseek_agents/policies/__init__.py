"""Language models behind one interface: token engines, chat endpoints, scripts."""

from wideseek_agents.policies.chat import ChatPolicy
from wideseek_agents.policies.config import ChatPolicyConfig
from wideseek_agents.policies.scripted import ScriptedPolicy
from wideseek_agents.policies.served import (
    SglangPolicyConfig,
    VllmPolicyConfig,
    open_served_policy,
)
from wideseek_agents.policies.token import TokenPolicy

__all__ = [
    "ChatPolicy",
    "ChatPolicyConfig",
    "ScriptedPolicy",
    "SglangPolicyConfig",
    "TokenPolicy",
    "VllmPolicyConfig",
    "open_served_policy",
]
