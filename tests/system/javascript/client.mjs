// Runs steps with the official client, one after the other, and prints what each returned.
// Input: JSON on stdin, {baseURL, steps: [{call, token, cookie, origin}]}. Output: a JSON list.
import { createAuthClient } from "better-auth/client";
import { oneTimeTokenClient } from "better-auth/client/plugins";

let text = "";
for await (const piece of process.stdin) text += piece;
const { baseURL, steps } = JSON.parse(text);

const client = createAuthClient({ baseURL, plugins: [oneTimeTokenClient()] });

// JSON has no dates: tells them from strings.
function show(value) {
  if (value instanceof Date) return { Date: value.getTime() };
  if (Array.isArray(value)) return value.map(show);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, show(part)]));
}

const results = [];
for (const { call, token, cookie, origin } of steps) {
  const headers = {};
  if (cookie) headers.cookie = cookie;
  if (origin) headers.origin = origin;
  let response = null;
  const fetchOptions = {
    headers,
    credentials: "include",
    onResponse: (context) => { response = context.response; },
  };
  const { data, error } =
    call === "generate"
      ? await client.oneTimeToken.generate({ fetchOptions })
      : await client.oneTimeToken.verify({ token, fetchOptions });
  // A later step may redeem what an earlier one generated.
  const generated = data?.token;
  for (const step of steps) if (generated && step.token === `of ${call}`) step.token = generated;
  results.push({
    data: show(data),
    error,
    cookies: response?.headers.getSetCookie() ?? [],
    headers: Object.fromEntries(response?.headers ?? []),
  });
}
process.stdout.write(JSON.stringify(results));
