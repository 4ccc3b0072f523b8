import { type SubmitEvent, useState } from "react";
import { addVehicle } from "./api";

export function VehicleForm({ onAdded }: { onAdded: () => Promise<void> }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");

  async function submit(event: SubmitEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    if ((data.get("photo") as File).size === 0) data.delete("photo");
    setBusy(true);
    try {
      await addVehicle(data);
      form.reset();
      setProblem("");
      await onAdded();
    } catch (error) {
      setProblem((error as Error).message);
    } finally {
      setBusy(false);
    }
  }

  return (
    <form className="card form" onSubmit={(event) => void submit(event)}>
      <label>
        Plate
        <input name="plate" data-testid="plate-input" placeholder="AB-123-CD" maxLength={20} required />
      </label>
      <label>
        Photo
        <input name="photo" data-testid="photo-input" type="file" accept="image/jpeg,image/png,image/webp" />
      </label>
      <button data-testid="add-button" disabled={busy}>
        {busy ? "Adding…" : "Add vehicle"}
      </button>
      {problem && <p role="alert">{problem}</p>}
    </form>
  );
}
