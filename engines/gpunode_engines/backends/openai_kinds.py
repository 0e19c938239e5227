"""What servers of OpenAI's interface differ in: counting prompts, naming token ids, sampling beyond the interface."""

from dataclasses import dataclass
from typing import Any, Literal

from gpunode_engines.backends.ollama_context import loaded_context
from gpunode_engines.backends.openai_client import CHAT_PATH, OpenAiClient
from gpunode_engines.base import GenerateRequest, TokenLogprob
from gpunode_engines.errors import BackendFailed, EngineError, InvalidParameters

_BEYOND = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Parameters that OpenAI's interface does not know, with the values that mean "off"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKind:
    """name: ``plain`` is any other server. model: as the server calls it. context_tokens: 0 = it does not say."""

    name: Literal["llama.cpp", "vllm", "ollama", "plain"]
    model: str
    context_tokens: int

    @property
    def gives_ids(self) -> bool:
        """Whether it names the tokens of its answers."""
        return self.name in ("llama.cpp", "vllm")

    @property
    def cuts_prompts(self) -> bool:
        """Whether it may leave out, without a word, what is longer than its context."""
        return self.name == "ollama" and self.context_tokens > 0

    @property
    def finds_calls(self) -> bool:
        """Whether tools are left to it.

        llama.cpp forgets them where the template does not know tools, and names no tokens while it looks for calls:
        there they are written into the conversation, and looked for here.
        """
        return self.name != "llama.cpp"

    @property
    def logprobs_have_ids(self) -> bool:
        """Whether log-probabilities name tokens by id."""
        return self.name == "llama.cpp"

    def sampling(self, request: GenerateRequest) -> dict[str, Any]:
        """Return a request's parameters. Stop texts stay here: they are matched by our own rule.

        Raises:
            InvalidParameters: the server knows no such parameter, and ignoring it would be dishonest.
        """
        body: dict[str, Any] = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
        } | ({} if request.seed is None else {"seed": request.seed})
        beyond = {name: value for name, off in _BEYOND.items() if (value := getattr(request, name)) != off}
        if not self.gives_ids:
            if beyond:
                raise InvalidParameters(f"This node's server takes no {', '.join(beyond)}; leave it out.")
            return body
        if self.name == "vllm":
            return body | beyond | {"ignore_eos": request.ignore_eos, "return_token_ids": True}
        penalty = beyond.pop("repetition_penalty", None)
        own = {"top_k": 0, "min_p": 0.0, "ignore_eos": request.ignore_eos}
        asked = {"logprobs": True, "top_logprobs": max(1, request.logprobs or 0)}
        return body | own | beyond | asked | ({} if penalty is None else {"repeat_penalty": penalty})

    def prompt_ids(self, client: OpenAiClient, body: dict[str, Any]) -> tuple[int, ...] | None:
        """Return the token ids of a conversation, None where the server does not tokenise."""
        match self.name:
            case "llama.cpp":
                asked: dict[str, Any] = {"messages": body["messages"]}
                rendered = client.call("POST", "/apply-template", asked)["prompt"]
                asked = {"content": rendered, "add_special": True, "parse_special": True}
                return tuple(client.call("POST", "/tokenize", asked)["tokens"])
            case "vllm":
                return tuple(client.call("POST", "/tokenize", body)["tokens"])
            case "ollama" | "plain":
                return None

    def output_ids(self, choice: dict[str, Any]) -> tuple[tuple[int, ...], tuple[TokenLogprob, ...]]:
        """Return the ids that a chunk brings, and their log-probabilities where these name ids."""
        match self.name:
            case "llama.cpp":
                entries = (choice.get("logprobs") or {}).get("content") or ()
                logprobs = tuple(
                    TokenLogprob(
                        token_id=entry["id"],
                        logprob=entry["logprob"],
                        top=tuple((other["id"], other["logprob"]) for other in entry["top_logprobs"]),
                    )
                    for entry in entries
                )
                return tuple(entry.token_id for entry in logprobs), logprobs
            case "vllm":
                return tuple(choice.get("token_ids") or ()), ()
            case "ollama" | "plain":
                return (), ()


def detect_kind(client: OpenAiClient, model: str) -> ServerKind:
    """Return what a server is.

    Raises:
        BackendFailed: it does not answer, or does not have the model.
    """
    listed = client.call("GET", "/v1/models").get("data") or ()
    models = {str(entry.get("id")): entry for entry in listed}
    found = next((name for name in (model, f"{model}:latest") if name in models), None)  # Ollama adds the tag
    if found is None:
        raise BackendFailed(f"it has no model {model!r}, but: {', '.join(sorted(models)) or 'none'}.")
    if (context := models[found].get("max_model_len")) is not None:
        name: Literal["vllm", "plain"] = "vllm" if _names_tokens(client, found) else "plain"
        return ServerKind(name=name, model=found, context_tokens=int(context))
    try:
        settings = client.call("GET", "/props")["default_generation_settings"]
        client.call("POST", "/tokenize", {"content": "a"})["tokens"]
        return ServerKind(name="llama.cpp", model=found, context_tokens=int(settings["n_ctx"]))
    except (EngineError, LookupError):
        pass
    try:
        client.call("GET", "/api/version")["version"]
        return ServerKind(name="ollama", model=found, context_tokens=loaded_context(client, found))
    except (EngineError, LookupError):
        return ServerKind(name="plain", model=found, context_tokens=0)


def _names_tokens(client: OpenAiClient, model: str) -> bool:
    """Whether a server that states its context as vLLM does also tokenises and names tokens, as it does from 0.10.2."""
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "a"}]}
    try:
        client.call("POST", "/tokenize", asked)["tokens"]
        answer = client.call("POST", CHAT_PATH, asked | {"max_tokens": 1, "return_token_ids": True})
        return bool(answer["choices"][0]["token_ids"])
    except (EngineError, LookupError):
        return False
