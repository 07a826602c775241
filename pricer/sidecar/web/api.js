// The sidecar's HTTP paths as JSON, and the token for those who need one: kept for this tab only, never in an address.
const KEY = "volstream.token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

export class ApiError extends Error {
  name = "ApiError";

  constructor(status, answer) {
    const { code, detail } = answer ?? {};
    super(typeof detail === "string" ? detail : `HTTP ${status}`);
    this.status = status; // 0: the sidecar was not reached
    this.code = code ?? String(status);
    this.answer = answer;
  }
}

// The answer, or an ApiError that says why there is none. `signal` ends the wait.
export async function get(path, { signal } = {}) {
  const secret = token.get();
  const headers = { accept: "application/json", ...(secret && { authorization: `Bearer ${secret}` }) };
  let answer, body;
  try {
    answer = await fetch(path, { headers, signal });
    body = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error; // which may come amid a body, too
    if (!answer) throw new ApiError(0, { detail: "the sidecar cannot be reached" });
    throw new ApiError(answer.status, { detail: `HTTP ${answer.status}, and a body that cannot be read` });
  }
  if (!answer.ok) throw new ApiError(answer.status, body);
  return body;
}
