#!/usr/bin/env python3
"""Drives a running server with OpenAI's own Python client.

usage: openai_client_test.py BASE_URL [unittest arguments]
  BASE_URL is http://HOST:PORT, the server's address without /v1. The API key,
  if the server has one, is taken from CARAVAN_API_KEY.
"""

import os
import sys
import unittest

import openai

BASE_URL = ""
API_KEY = os.environ.get("CARAVAN_API_KEY", "none")
TIMEOUT_SECONDS = 60


def make_client(api_key=None):
    return openai.OpenAI(
        base_url=BASE_URL + "/v1",
        api_key=api_key or API_KEY,
        timeout=TIMEOUT_SECONDS,
        max_retries=0,
    )


class OpenAIClientTest(unittest.TestCase):
    def setUp(self):
        self.client = make_client()
        self.model = self.client.models.list().data[0].id
        self.addCleanup(self.client.close)

    def complete(self, **fields):
        fields = {"model": self.model, "prompt": "Once upon", **fields}
        return self.client.completions.create(**fields)

    def chat(self, **fields):
        messages = [
            {"role": "system", "content": "You answer in one word."},
            {"role": "user", "content": "What is the capital of France?"},
        ]
        fields = {"model": self.model, "messages": messages, **fields}
        return self.client.chat.completions.create(**fields)

    # Models.

    def test_lists_and_retrieves_models(self):
        model = self.client.models.retrieve(self.model)
        self.assertEqual(model.id, self.model)
        self.assertEqual(model.object, "model")
        self.assertGreater(model.max_model_len, 0)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("no-such-model")

    # Completions.

    def test_completes(self):
        completion = self.complete(max_tokens=8, temperature=0)
        choice = completion.choices[0]
        self.assertEqual(completion.object, "text_completion")
        self.assertIn(choice.finish_reason, ("length", "stop"))
        self.assertLessEqual(completion.usage.completion_tokens, 8)
        self.assertEqual(
            completion.usage.total_tokens,
            completion.usage.prompt_tokens + completion.usage.completion_tokens,
        )

    def test_a_stream_is_the_whole_in_pieces(self):
        whole = self.complete(max_tokens=24, temperature=0)
        stream = self.complete(
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        text, reason, usage = "", None, None
        for chunk in stream:
            for choice in chunk.choices:
                text += choice.text
                reason = choice.finish_reason or reason
            usage = chunk.usage or usage
        self.assertEqual(text, whole.choices[0].text)
        self.assertEqual(reason, whole.choices[0].finish_reason)
        self.assertEqual(usage, whole.usage)

    def test_seeds_repeat(self):
        first = self.complete(max_tokens=16, seed=-7, temperature=1.2)
        second = self.complete(max_tokens=16, seed=-7, temperature=1.2)
        self.assertEqual(first.choices[0].text, second.choices[0].text)

    def test_answers_prompt_lists_and_choices(self):
        completion = self.complete(
            prompt=["One", "Two", "Three"], n=2, max_tokens=4, temperature=0.5
        )
        indices = [choice.index for choice in completion.choices]
        self.assertEqual(indices, list(range(6)))

    def test_scores_tokens(self):
        completion = self.complete(
            max_tokens=4, logprobs=2, echo=True, temperature=0
        )
        logprobs = completion.choices[0].logprobs
        self.assertEqual(len(logprobs.tokens), completion.usage.total_tokens)
        self.assertEqual(len(logprobs.token_logprobs), len(logprobs.tokens))
        self.assertIsNone(logprobs.token_logprobs[0])
        for logprob in logprobs.token_logprobs[1:]:
            self.assertLessEqual(logprob, 0)
        self.assertTrue(completion.choices[0].text.startswith("Once upon"))

    def test_stops_at_a_string(self):
        whole = self.complete(max_tokens=48, temperature=0).choices[0].text
        printable = [c for c in whole[4:] if c.isprintable()]
        if not printable:
            self.skipTest("the model said nothing to stop at")
        stop = printable[0]
        stopped = self.complete(max_tokens=48, temperature=0, stop=[stop])
        self.assertEqual(stopped.choices[0].text, whole[: whole.index(stop)])
        self.assertEqual(stopped.choices[0].finish_reason, "stop")

    def test_takes_token_ids(self):
        ids = [5, 6, 7, 8]
        completion = self.complete(
            prompt=ids, max_tokens=3, extra_body={"return_token_ids": True}
        )
        choice = completion.choices[0]
        self.assertEqual(choice.prompt_token_ids, ids)
        self.assertEqual(
            len(choice.token_ids), completion.usage.completion_tokens
        )

    # Chat.

    def test_chats(self):
        answer = self.chat(max_completion_tokens=8, temperature=0)
        message = answer.choices[0].message
        self.assertEqual(message.role, "assistant")
        self.assertIsInstance(message.content, str)

    def test_a_chat_stream_is_the_whole_in_pieces(self):
        whole = self.chat(max_tokens=16, temperature=0)
        text, roles = "", []
        for chunk in self.chat(max_tokens=16, temperature=0, stream=True):
            delta = chunk.choices[0].delta
            text += delta.content or ""
            if delta.role:
                roles.append(delta.role)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(roles, ["assistant"])

    def test_scores_chat_tokens(self):
        answer = self.chat(
            max_tokens=4, temperature=0, logprobs=True, top_logprobs=3
        )
        content = answer.choices[0].logprobs.content
        self.assertEqual(len(content), answer.usage.completion_tokens)
        self.assertEqual(len(content[0].top_logprobs), 3)
        self.assertIsInstance(content[0].bytes, list)

    def test_takes_text_parts(self):
        parts = [{"type": "text", "text": "Say hello."}]
        answer = self.chat(
            messages=[{"role": "developer", "content": "Be brief."},
                      {"role": "user", "content": parts}],
            max_tokens=4,
        )
        self.assertEqual(len(answer.choices), 1)

    # Errors.

    def assert_bad(self, param, call, **fields):
        with self.assertRaises(openai.BadRequestError) as caught:
            call(**fields)
        self.assertEqual(caught.exception.param, param)
        self.assertEqual(caught.exception.type, "invalid_request_error")

    def test_refuses_by_field(self):
        self.assert_bad("temperature", self.complete, temperature=-1)
        self.assert_bad("n", self.complete, n=100000)
        self.assert_bad("max_tokens", self.chat, max_tokens=10**9)
        self.assert_bad("logit_bias", self.complete, logit_bias={"5": 10})
        self.assert_bad("messages", self.chat, messages=[])

    def test_refuses_unknown_models(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            self.complete(model="no-such-model")
        self.assertEqual(caught.exception.code, "model_not_found")

    def test_refuses_wrong_keys(self):
        if API_KEY == "none":
            self.skipTest("the server has no key")
        with make_client("wrong") as client:
            with self.assertRaises(openai.AuthenticationError):
                client.models.list()

    def test_a_stream_that_is_left_does_no_harm(self):
        for _ in range(8):
            stream = self.complete(max_tokens=200, stream=True)
            next(iter(stream))
            stream.close()
        self.assertEqual(len(self.complete(max_tokens=4).choices), 1)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BASE_URL = sys.argv.pop(1).rstrip("/")
    unittest.main()
