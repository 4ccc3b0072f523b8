const LIMIT_MS = 2000;

/** Says "connected", or "disconnected: <why>" when the check fails or takes too long. */
export async function probe(check: Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    await Promise.race([check, limit]);
    return "connected";
  } catch (error) {
    return `disconnected: ${reason(error)}`;
  } finally {
    clearTimeout(timer);
  }
}

function reason(error: unknown): string {
  const { message, code } = error as { message?: string; code?: string };
  return message || code || String(error);
}
