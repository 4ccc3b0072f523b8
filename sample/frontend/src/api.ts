import { apiOrigin } from "./settings";

export interface Vehicle {
  id: number;
  plate: string;
  mileage: number;
  photo: string | null;
  processed: boolean;
  createdAt: string;
}

async function answer<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json()) as T;
  const problem = (await response.json().catch(() => ({}))) as { message?: string };
  throw new Error(problem.message ?? `The server answered ${response.status}`);
}

export async function listVehicles(): Promise<Vehicle[]> {
  return answer(await fetch(`${apiOrigin}/api/vehicles`));
}

export async function addVehicle(form: FormData): Promise<Vehicle> {
  return answer(await fetch(`${apiOrigin}/api/vehicles`, { method: "POST", body: form }));
}

export const photoUrl = (photo: string): string => `${apiOrigin}${photo}`;
