import { photoUrl, type Vehicle } from "./api";

function Row({ vehicle }: { vehicle: Vehicle }) {
  return (
    <li className="row" data-testid="vehicle-row">
      {vehicle.photo ? <img src={photoUrl(vehicle.photo)} alt={`Vehicle ${vehicle.plate}`} /> : <span className="no-photo" />}
      <strong>{vehicle.plate}</strong>
      <time dateTime={vehicle.createdAt}>{new Date(vehicle.createdAt).toLocaleString()}</time>
      <span className={vehicle.processed ? "badge done" : "badge"}>{vehicle.processed ? "ready" : "processing"}</span>
    </li>
  );
}

export function VehicleList({ vehicles }: { vehicles: Vehicle[] }) {
  return (
    <section className="card">
      <h2>Vehicles</h2>
      <ul data-testid="vehicle-list">
        {vehicles.map((vehicle) => (
          <Row key={vehicle.id} vehicle={vehicle} />
        ))}
      </ul>
      {vehicles.length === 0 && <p className="empty">No vehicle yet.</p>}
    </section>
  );
}
